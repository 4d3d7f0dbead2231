//! Instruction sets behind one face: eight lanes of `f32`, and sixteen for matrix products.
//!
//! A kernel is a [`Task`], written once over [`Lanes`]; [`Isa::run`] compiles it once for each instruction set. A value
//! of a lanes type is the proof that the machine has its instructions: only its own `detect` makes one that needs any.
//!
//! A new instruction set is a file with a type that implements [`Lanes`], a variant of [`Isa`] and its detection; the
//! kernels and their tests take it up as they are.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// Floats in a vector.
pub const LANES: usize = 8;

/// Floats of a wide vector.
pub const WIDE: usize = 2 * LANES;
/// The most rows that a tile of products has with any instruction set.
pub const MAX_ROWS: usize = 12;

/// Vectors of [`LANES`] floats, and of [`WIDE`] for matrix products.
pub trait Lanes: Copy + Send + Sync {
    /// A vector.
    type V: Copy;
    /// A wide vector.
    type Wide: Copy;

    /// Rows and wide columns of a tile of products: as many sums as the registers hold beside the factors.
    const TILE: [usize; 2];
    /// Rows and wide columns of a tile of outer products, likewise.
    const OUTER: [usize; 2];

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
    /// At most `count` floats from memory; zeros in the other lanes.
    ///
    /// # Safety
    /// The `count` floats at `from` may be read.
    unsafe fn load_part(self, from: *const f32, count: usize) -> Self::V;
    /// As [`load_part`](Self::load_part), where all eight are the rule.
    ///
    /// # Safety
    /// The `count` floats at `from` may be read.
    #[inline(always)]
    unsafe fn load_up_to(self, from: *const f32, count: usize) -> Self::V {
        // SAFETY: the caller's duty.
        unsafe { if LANES <= count { self.load(from) } else { self.load_part(from, count) } }
    }
    /// At most the first `count` lanes to memory.
    ///
    /// # Safety
    /// The `count` floats at `to` may be written.
    unsafe fn store_part(self, to: *mut f32, v: Self::V, count: usize);
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

    /// The same value in each lane of a wide vector.
    fn wide_splat(self, x: f32) -> Self::Wide;
    /// Sixteen floats from memory, at any alignment.
    ///
    /// # Safety
    /// The sixteen floats at `from` may be read.
    unsafe fn wide_load(self, from: *const f32) -> Self::Wide;
    /// Sixteen floats to memory, at any alignment.
    ///
    /// # Safety
    /// The sixteen floats at `to` may be written.
    unsafe fn wide_store(self, to: *mut f32, v: Self::Wide);
    /// At most `count` floats from memory; zeros in the other lanes.
    ///
    /// # Safety
    /// The `count` floats at `from` may be read.
    unsafe fn wide_load_part(self, from: *const f32, count: usize) -> Self::Wide;
    /// At most the first `count` lanes to memory.
    ///
    /// # Safety
    /// The `count` floats at `to` may be written.
    unsafe fn wide_store_part(self, to: *mut f32, v: Self::Wide, count: usize);
    /// `a + b`.
    fn wide_add(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `x · b + c` for one number `x`, rounded once where the machine can.
    fn wide_fma(self, x: f32, b: Self::Wide, c: Self::Wide) -> Self::Wide;
    /// Brought between both bounds; NaN stays.
    fn wide_clamp(self, v: Self::Wide, low: f32, high: f32) -> Self::Wide;
}

/// The wide part of [`Lanes`] on two vectors.
macro_rules! pairs {
    () => {
        type Wide = [Self::V; 2];

        #[inline(always)]
        fn wide_splat(self, x: f32) -> Self::Wide {
            [self.splat(x); 2]
        }
        #[inline(always)]
        unsafe fn wide_load(self, from: *const f32) -> Self::Wide {
            // SAFETY: the caller's duty.
            unsafe { [self.load(from), self.load(from.add(LANES))] }
        }
        #[inline(always)]
        unsafe fn wide_store(self, to: *mut f32, v: Self::Wide) {
            // SAFETY: the caller's duty.
            unsafe {
                self.store(to, v[0]);
                self.store(to.add(LANES), v[1]);
            }
        }
        #[inline(always)]
        unsafe fn wide_load_part(self, from: *const f32, count: usize) -> Self::Wide {
            // SAFETY: the caller's duty; nothing is read behind `count`.
            unsafe {
                let rest = count.saturating_sub(LANES);
                [self.load_part(from, count), self.load_part(from.wrapping_add(LANES), rest)]
            }
        }
        #[inline(always)]
        unsafe fn wide_store_part(self, to: *mut f32, v: Self::Wide, count: usize) {
            // SAFETY: the caller's duty; nothing is written behind `count`.
            unsafe {
                self.store_part(to, v[0], count);
                self.store_part(to.wrapping_add(LANES), v[1], count.saturating_sub(LANES));
            }
        }
        #[inline(always)]
        fn wide_add(self, a: Self::Wide, b: Self::Wide) -> Self::Wide {
            [self.add(a[0], b[0]), self.add(a[1], b[1])]
        }
        #[inline(always)]
        fn wide_fma(self, x: f32, b: Self::Wide, c: Self::Wide) -> Self::Wide {
            let x = self.splat(x);
            [self.fma(x, b[0], c[0]), self.fma(x, b[1], c[1])]
        }
        #[inline(always)]
        fn wide_clamp(self, v: Self::Wide, low: f32, high: f32) -> Self::Wide {
            let (low, high) = (self.splat(low), self.splat(high));
            [self.min(high, self.max(low, v[0])), self.min(high, self.max(low, v[1]))]
        }
    };
}
use pairs;

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
    Portable(Portable),
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 (F, VL, BW, DQ): products on vectors of 16, all else on twice as many registers of 8.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// The environment variable that forces an instruction set by its name: `portable`, `avx2` or `avx512`.
pub const FORCE: &str = "NETC_ISA";

impl Isa {
    /// The best instruction set of this machine, or the one that the environment variable [`FORCE`] names where the
    /// machine has it. Asked once.
    pub fn detect() -> Isa {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        let best = || Isa::all().pop().unwrap_or(Isa::Portable(Portable));
        *FOUND.get_or_init(|| Isa::from_environment().ok().flatten().unwrap_or_else(best))
    }

    /// The instruction set that the environment variable [`FORCE`] names.
    ///
    /// # Errors
    /// When this machine has none of that name, with a message for people.
    pub fn from_environment() -> Result<Option<Isa>, String> {
        let name = std::env::var(FORCE).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let all = Isa::all();
        let known = all.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
        let found = all.into_iter().find(|isa| isa.name() == name);
        found.map(Some).ok_or_else(|| format!("{FORCE} is `{name}`, but this machine has {known}"))
    }

    /// Every instruction set of this machine, the best one last.
    pub fn all() -> Vec<Isa> {
        let mut all = vec![Isa::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::detect().map(Isa::Avx2));
            all.extend(Avx512::detect().map(Isa::Avx512));
        }
        all
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }

    /// Does the work with these instructions.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Isa::Portable(lanes) => task.run(lanes),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(lanes) => lanes.run(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(lanes) => lanes.run(task),
        }
    }
}
