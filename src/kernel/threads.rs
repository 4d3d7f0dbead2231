//! A small pool of threads for loops of known length.
//!
//! Workers spin for a short while between the loops of a run and sleep when nothing comes, so that a loop costs a
//! microsecond or two to start. Each thread begins with its own share of the indices and takes from the others' when it
//! is done: the same thread meets the same rows from loop to loop while a slow thread holds nobody up. A loop ends when
//! its indices are done; a worker that has not come by then, since its core does something else, is not waited for.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// Rounds of spinning before a worker sleeps: some tens of microseconds.
const SPIN: u32 = 20_000;

/// A share of the indices; a cache line of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Share {
    next: AtomicUsize,
    end: AtomicUsize,
}

/// The body of a loop: index, thread.
type Body<'a> = &'a (dyn Fn(usize, usize) + Sync);

#[derive(Debug)]
struct Shared {
    shares: Vec<Share>,
    /// The loop that is running. Written by the caller while no worker is in a loop.
    body: UnsafeCell<Option<Body<'static>>>,
    /// The number of the loop above [`OPEN`], which says whether it may be entered; the workers inside below it.
    state: AtomicU64,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// How many workers sleep.
    asleep: Mutex<usize>,
    wake: Condvar,
}

/// The bit of the state that says that workers may enter the loop.
const OPEN: u64 = 1 << 16;

// SAFETY: `body` is written by the thread that holds `Threads::gate` while the loop is closed and nobody is inside. A
// worker reads it after it has entered, by a step of the state that finds it open (acquire, after the caller's release),
// and before it leaves (release); the caller closes the loop and waits until all have left (acquire).
unsafe impl Sync for Shared {}
// SAFETY: as for `Sync`; the body is only used within the call that lends it.
unsafe impl Send for Shared {}

/// The pool. Its calls may come from several threads at once: one uses the workers, the others do without.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    gate: Mutex<()>,
}

impl Threads {
    /// A pool in which `threads` threads work, the calling one included.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize) -> std::io::Result<Threads> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Share::default()).collect(),
            body: UnsafeCell::new(None),
            state: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut pool = Threads { shared, workers: Vec::new(), gate: Mutex::new(()) };
        for thread in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker =
                std::thread::Builder::new().name(format!("netc-{thread}")).spawn(move || work(&shared, thread))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads work, the calling one included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(index, thread)` once for every index below `count`, on all threads. `thread` is below
    /// [`count`](Self::count) and no two calls with the same one run at once, within this loop.
    ///
    /// # Panics
    /// When the body has panicked.
    pub fn run(&self, count: usize, body: impl Fn(usize, usize) + Sync) {
        let gate = match self.gate.try_lock() {
            _ if count < 2 || self.workers.is_empty() => None,
            // A loop that has panicked has been left by all.
            Err(TryLockError::Poisoned(gate)) => Some(gate.into_inner()),
            gate => gate.ok(),
        };
        if gate.is_none() {
            (0..count).for_each(|index| body(index, 0));
            return;
        }
        let shared = &*self.shared;
        let threads = shared.shares.len();
        for (thread, share) in shared.shares.iter().enumerate() {
            share.next.store(count * thread / threads, Ordering::Relaxed);
            share.end.store(count * (thread + 1) / threads, Ordering::Relaxed);
        }
        let body: Body = &body;
        // SAFETY: the longer lifetime is not used: this call returns, or unwinds, only after the loop is closed and all
        // workers have left it, as `Finish` waits for. No worker reads `body` now, since the loop before is closed.
        unsafe { *shared.body.get() = Some(std::mem::transmute::<Body<'_>, Body<'static>>(body)) };
        // The state is closed and empty: the next number, and open.
        let number = shared.state.load(Ordering::Relaxed) / (2 * OPEN) + 1;
        shared.state.store(number * 2 * OPEN + OPEN, Ordering::SeqCst);
        if *shared.asleep.lock().unwrap_or_else(PoisonError::into_inner) != 0 {
            shared.wake.notify_all();
        }
        let finish = Finish(shared);
        take(shared, body, 0);
        drop(finish);
        drop(gate);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a loop has panicked on another thread");
    }
}

/// Closes the loop and waits until no worker is in it, also when the caller's part of it unwinds.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while !self.0.state.load(Ordering::Acquire).is_multiple_of(OPEN) {
            rounds += 1;
            if rounds.is_multiple_of(1024) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// Works off the indices of one thread's share, then of the others'.
fn take(shared: &Shared, body: Body, thread: usize) {
    let threads = shared.shares.len();
    for other in 0..threads {
        let share = &shared.shares[(thread + other) % threads];
        let end = share.end.load(Ordering::Relaxed);
        loop {
            let index = share.next.fetch_add(1, Ordering::Relaxed);
            if end <= index {
                break;
            }
            body(index, thread);
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let mut seen = 0;
    while let Some(number) = enter(shared, seen) {
        seen = number;
        // SAFETY: this worker has entered the loop, so the caller has written the body and waits until it has left.
        if let Some(body) = unsafe { *shared.body.get() }
            && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(shared, body, thread))).is_err()
        {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.state.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for an open loop behind number `seen` and enters it: its number; `None` when the pool ends.
fn enter(shared: &Shared, seen: u64) -> Option<u64> {
    // Counted in where the loop is new and open.
    let try_enter = || {
        let state = shared.state.load(Ordering::SeqCst);
        let number = state / (2 * OPEN);
        let is_open = number != seen && state & OPEN != 0;
        let enter = || shared.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        (is_open && enter()).then_some(number)
    };
    loop {
        for _ in 0..SPIN {
            std::hint::spin_loop();
            if shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(number) = try_enter() {
                return Some(number);
            }
        }
        let mut asleep = shared.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        // The caller opens the loop before it takes the lock, so it is either seen here or followed by a call.
        let nothing = |_: &mut usize| {
            let state = shared.state.load(Ordering::SeqCst);
            let is_new = state / (2 * OPEN) != seen && state & OPEN != 0;
            !is_new && !shared.stop.load(Ordering::SeqCst)
        };
        asleep = shared.wake.wait_while(asleep, nothing).unwrap_or_else(PoisonError::into_inner);
        *asleep -= 1;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.asleep.lock());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::Threads;

    #[test]
    fn each_index_is_met_once_whoever_calls() {
        for threads in 1..5 {
            let pool = Threads::new(threads).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for count in [0, 1, 2, 3, 17, 1000].repeat(50) {
                            let met: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                            pool.run(count, |index, thread| {
                                assert!(thread < threads);
                                met[index].fetch_add(1, Ordering::Relaxed);
                            });
                            assert!(met.iter().all(|times| times.load(Ordering::Relaxed) == 1));
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn sleeping_workers_wake() {
        let pool = Threads::new(3).unwrap();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(20));
            let met = [const { AtomicUsize::new(0) }; 3];
            // Each index waits for the others: all three threads have to come.
            pool.run(3, |index, _| {
                met[index].store(1, Ordering::SeqCst);
                while met.iter().any(|met| met.load(Ordering::SeqCst) == 0) {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Threads::new(2).unwrap();
        for bad in [0, 99] {
            let loop_of = || pool.run(100, |index, _| assert_ne!(index, bad));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(loop_of)).is_err());
        }
        let met = AtomicUsize::new(0);
        pool.run(100, |_, _| {
            met.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(met.into_inner(), 100);
    }
}
