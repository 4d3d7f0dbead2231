//! x86-64: AVX2 with FMA, and AVX-512.

use std::arch::x86_64 as x86;

use super::{LANES, Lanes, Task, WIDE, pairs};

/// AVX2 and FMA. Holding one proves that the machine has them.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// AVX-512 F, VL, BW and DQ, AVX2 and FMA. Holding one proves that the machine has them.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx2 {
    /// Where the machine has it.
    pub fn detect() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }

    /// Does the work with these instructions.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx2,fma")]
        fn inner<T: Task>(lanes: Avx2, task: T) -> T::Output {
            task.run(lanes)
        }
        // SAFETY: `self` proves that the machine has AVX2 and FMA.
        unsafe { inner(self, task) }
    }
}

impl Avx512 {
    /// Where the machine has it.
    pub fn detect() -> Option<Avx512> {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        let whole = wide && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq");
        (whole && Avx2::detect().is_some()).then_some(Avx512(()))
    }

    /// Does the work with these instructions.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn inner<T: Task>(lanes: Avx512, task: T) -> T::Output {
            task.run(lanes)
        }
        // SAFETY: `self` proves that the machine has all of them.
        unsafe { inner(self, task) }
    }
}

/// To the nearest whole number, without exceptions.
const NEAREST: i32 = x86::_MM_FROUND_TO_NEAREST_INT | x86::_MM_FROUND_NO_EXC;

/// The mask of the first `count` lanes.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> x86::__m256i {
    // SAFETY: the caller's duty.
    unsafe {
        let lanes = x86::_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        x86::_mm256_cmpgt_epi32(x86::_mm256_set1_epi32(count as i32), lanes)
    }
}

/// The mask of the first `count` lanes of a wide vector.
#[inline(always)]
fn first_wide_lanes(count: usize) -> x86::__mmask16 {
    ((1u32 << count.min(WIDE)) - 1) as x86::__mmask16
}

/// Each wraps a few instructions.
macro_rules! instruction {
    ($name:ident($($arg:ident),*) = $call:expr) => {
        #[inline(always)]
        fn $name(self, $($arg: Self::V),*) -> Self::V {
            // SAFETY: `self` proves that the machine has AVX2 and FMA.
            unsafe { $call }
        }
    };
}

/// The part of [`Lanes`] on vectors of eight, the same with both instruction sets.
macro_rules! eights {
    () => {
        type V = x86::__m256;

        #[inline(always)]
        fn prefetch(self, at: *const f32) {
            // SAFETY: a prefetch reads nothing; every x86-64 machine has it.
            unsafe { x86::_mm_prefetch::<{ x86::_MM_HINT_T0 }>(at.cast()) }
        }

        #[inline(always)]
        fn prefetch_far(self, at: *const f32) {
            // SAFETY: a prefetch reads nothing; every x86-64 machine has it.
            unsafe { x86::_mm_prefetch::<{ x86::_MM_HINT_T1 }>(at.cast()) }
        }

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: `self` proves that the machine has AVX2 and FMA.
            unsafe { x86::_mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> Self::V {
            // SAFETY: `self` proves the instructions; that the memory may be read is the caller's duty.
            unsafe { x86::_mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, v: Self::V) {
            // SAFETY: `self` proves the instructions; that the memory may be written is the caller's duty.
            unsafe { x86::_mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn load_part(self, from: *const f32, count: usize) -> Self::V {
            // SAFETY: `self` proves the instructions; lanes that are masked out are not read.
            unsafe { x86::_mm256_maskload_ps(from, first_lanes(count)) }
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, v: Self::V, count: usize) {
            // In pieces, since masked stores of AVX2 take tens of cycles on some machines.
            // SAFETY: `self` proves the instructions; nothing is written behind `count`.
            unsafe {
                if LANES <= count {
                    return x86::_mm256_storeu_ps(to, v);
                }
                let (mut rest, mut to) = (x86::_mm256_castps256_ps128(v), to);
                if count & 4 != 0 {
                    x86::_mm_storeu_ps(to, rest);
                    (rest, to) = (x86::_mm256_extractf128_ps::<1>(v), to.add(4));
                }
                if count & 2 != 0 {
                    x86::_mm_store_sd(to.cast(), x86::_mm_castps_pd(rest));
                    (rest, to) = (x86::_mm_movehl_ps(rest, rest), to.add(2));
                }
                if count & 1 != 0 {
                    x86::_mm_store_ss(to, rest);
                }
            }
        }
        instruction!(add(a, b) = x86::_mm256_add_ps(a, b));
        instruction!(sub(a, b) = x86::_mm256_sub_ps(a, b));
        instruction!(mul(a, b) = x86::_mm256_mul_ps(a, b));
        instruction!(div(a, b) = x86::_mm256_div_ps(a, b));
        instruction!(fma(a, b, c) = x86::_mm256_fmadd_ps(a, b, c));
        instruction!(max(a, b) = x86::_mm256_max_ps(a, b));
        instruction!(min(a, b) = x86::_mm256_min_ps(a, b));
        // `max` gives its second operand where either is NaN; a NaN in the first is put back.
        instruction!(
            larger(a, b) = {
                let larger = x86::_mm256_max_ps(a, b);
                x86::_mm256_blendv_ps(larger, a, x86::_mm256_cmp_ps::<{ x86::_CMP_UNORD_Q }>(a, a))
            }
        );
        instruction!(round(a) = x86::_mm256_round_ps::<NEAREST>(a));
        instruction!(
            scale(a, n) = {
                let exponent = x86::_mm256_add_epi32(x86::_mm256_cvtps_epi32(n), x86::_mm256_set1_epi32(127));
                x86::_mm256_mul_ps(a, x86::_mm256_castsi256_ps(x86::_mm256_slli_epi32::<23>(exponent)))
            }
        );
        instruction!(
            select_less(a, b, yes, no) =
                x86::_mm256_blendv_ps(no, yes, x86::_mm256_cmp_ps::<{ x86::_CMP_LT_OQ }>(a, b))
        );
        instruction!(sqrt(a) = x86::_mm256_sqrt_ps(a));
        #[inline(always)]
        fn sum(self, a: Self::V) -> f32 {
            // SAFETY: `self` proves that the machine has AVX2 and FMA.
            unsafe {
                let four = x86::_mm_add_ps(x86::_mm256_castps256_ps128(a), x86::_mm256_extractf128_ps::<1>(a));
                let two = x86::_mm_add_ps(four, x86::_mm_movehl_ps(four, four));
                x86::_mm_cvtss_f32(x86::_mm_add_ss(two, x86::_mm_movehdup_ps(two)))
            }
        }
    };
}

impl Lanes for Avx2 {
    const TILE: [usize; 2] = [6, 1];
    const OUTER: [usize; 2] = [6, 1];
    eights!();
    pairs!();
}

impl Lanes for Avx512 {
    type Wide = x86::__m512;

    const TILE: [usize; 2] = [12, 2];
    const OUTER: [usize; 2] = [8, 3];
    eights!();

    #[inline(always)]
    fn wide_splat(self, x: f32) -> Self::Wide {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { x86::_mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn wide_load(self, from: *const f32) -> Self::Wide {
        // SAFETY: `self` proves the instructions; that the memory may be read is the caller's duty.
        unsafe { x86::_mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn wide_store(self, to: *mut f32, v: Self::Wide) {
        // SAFETY: `self` proves the instructions; that the memory may be written is the caller's duty.
        unsafe { x86::_mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn wide_load_part(self, from: *const f32, count: usize) -> Self::Wide {
        // SAFETY: `self` proves the instructions; lanes that are masked out are not read.
        unsafe { x86::_mm512_maskz_loadu_ps(first_wide_lanes(count), from) }
    }
    #[inline(always)]
    unsafe fn wide_store_part(self, to: *mut f32, v: Self::Wide, count: usize) {
        // SAFETY: `self` proves the instructions; lanes that are masked out are not written.
        unsafe { x86::_mm512_mask_storeu_ps(to, first_wide_lanes(count), v) }
    }
    #[inline(always)]
    fn wide_add(self, a: Self::Wide, b: Self::Wide) -> Self::Wide {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { x86::_mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn wide_fma(self, x: f32, b: Self::Wide, c: Self::Wide) -> Self::Wide {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { x86::_mm512_fmadd_ps(x86::_mm512_set1_ps(x), b, c) }
    }
    #[inline(always)]
    fn wide_clamp(self, v: Self::Wide, low: f32, high: f32) -> Self::Wide {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { x86::_mm512_min_ps(x86::_mm512_set1_ps(high), x86::_mm512_max_ps(x86::_mm512_set1_ps(low), v)) }
    }
}
