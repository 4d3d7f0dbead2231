//! Instruction sets behind one face: eight lanes of `f32`.
//!
//! A kernel is a [`Task`], written once over [`Lanes`]; [`Isa::run`] compiles it once for each instruction set. A value
//! of a lanes type is the proof that the machine has its instructions: only [`Isa::detect`] makes one that needs any.

use std::sync::OnceLock;

/// Floats in a vector.
pub const LANES: usize = 8;

/// Vectors of [`LANES`] floats.
pub trait Lanes: Copy + Send + Sync {
    /// A vector.
    type V: Copy;

    /// The same value in each lane.
    fn splat(self, x: f32) -> Self::V;
    /// Eight floats from memory, at any alignment.
    ///
    /// # Safety
    /// The eight floats at `from` may be read.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Eight floats to memory, at any alignment.
    ///
    /// # Safety
    /// The eight floats at `to` may be written.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Asks for the cache line of an address, which need not be valid.
    fn prefetch(self, at: *const f32);
    /// As [`prefetch`](Self::prefetch), into the second-level cache.
    fn prefetch_far(self, at: *const f32);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the machine can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of both; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of both; NaN where either is.
    fn larger(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of both; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// The nearest whole number, the even one of two.
    fn round(self, a: Self::V) -> Self::V;
    /// `a · 2^n` for whole `n` from -126 to 127 (128 gives infinity or NaN).
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// `yes` in the lanes where `a < b`, `no` in the others.
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The sum of all lanes, pairwise.
    fn sum(self, a: Self::V) -> f32;
}

/// Work that is compiled for each instruction set. `run` and all that it calls have to be `#[inline(always)]`, so that
/// they become part of the function that has the instructions.
pub trait Task {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// Whatever the compiler makes of arrays.
    Portable,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

/// The environment variable that forces an instruction set: `portable` or `avx2`.
pub const FORCE: &str = "NETC_ISA";

impl Isa {
    /// The best instruction set of this machine, or the one that the environment variable [`FORCE`] names where the
    /// machine has it. Asked once.
    pub fn detect() -> Isa {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let forced = std::env::var(FORCE).unwrap_or_default();
            if forced == "portable" { Isa::Portable } else { Isa::best() }
        })
    }

    fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Isa::Avx2(Avx2(()));
        }
        Isa::Portable
    }

    /// Every instruction set of this machine.
    pub fn all() -> Vec<Isa> {
        let mut all = vec![Isa::Portable];
        let best = Isa::best();
        if best.name() != Isa::Portable.name() {
            all.push(best);
        }
        all
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
        }
    }

    /// Does the work with these instructions.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Isa::Portable => task.run(Portable),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` is made by `Isa::best` only, after it has found AVX2 and FMA.
            Isa::Avx2(lanes) => unsafe { run_avx2(lanes, task) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(lanes: Avx2, task: T) -> T::Output {
    task.run(lanes)
}

/// Lanes as an array; the compiler vectorises what it can.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Lanes for Portable {
    type V = [f32; LANES];

    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline(always)]
    fn prefetch_far(self, _: *const f32) {}

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's duty; an array has no more alignment than its elements.
        unsafe { from.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's duty; an array has no more alignment than its elements.
        unsafe { to.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn larger(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if b > a || b.is_nan() { b } else { a })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| a * f32::from_bits(((n as i32 + 127) << 23).cast_unsigned()))
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        std::array::from_fn(|lane| if a[lane] < b[lane] { yes[lane] } else { no[lane] })
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
}

/// AVX2 and FMA. Holding one proves that the machine has them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64 as x86;

    use super::{Avx2, Lanes};

    /// To the nearest whole number, without exceptions.
    const NEAREST: i32 = x86::_MM_FROUND_TO_NEAREST_INT | x86::_MM_FROUND_NO_EXC;

    /// Each wraps one instruction.
    macro_rules! instruction {
        ($name:ident($($arg:ident),*) = $call:expr) => {
            #[inline(always)]
            fn $name(self, $($arg: Self::V),*) -> Self::V {
                // SAFETY: `self` proves that the machine has AVX2 and FMA.
                unsafe { $call }
            }
        };
    }

    impl Lanes for Avx2 {
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
    }
}
