//! Work on many small operators at a time.

use std::sync::Mutex;

use rayon::ThreadPoolBuilder;

/// What `work` makes of each of the parts, which it gets with their places; in the order of the parts. The threads of the pool
/// are shared out: where all of them worked on one small part at a time, most would wait. Parts are begun in their
/// order, so the ones that take longest should come first. As many parts as there are threads have their memory at one time.
pub fn side_by_side<I: Send, R: Send>(
    mut parts: Vec<I>,
    work: impl Fn(usize, I) -> R + Sync,
) -> Vec<R> {
    if parts.len() <= 1 {
        return parts.pop().map(|part| work(0, part)).into_iter().collect();
    }
    let threads = rayon::current_num_threads();
    let workers = threads.min(parts.len()).max(1);
    let results = Mutex::new(Vec::with_capacity(parts.len()));
    let queue = Mutex::new(parts.into_iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let run = || {
        while let Some((i, part)) = next() {
            let result = work(i, part);
            if let Ok(mut results) = results.lock() {
                results.push((i, result));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            // A pool of its own: a thread that waits must not take up another part in the middle of one. All have the same
            // size, because sums are cut by the number of threads and any worker may take any part.
            let pool = ThreadPoolBuilder::new().num_threads(threads / workers);
            match pool.build() {
                Ok(pool) => drop(scope.spawn(move || pool.install(run))),
                // Without more threads this one does it all.
                Err(_) => run(),
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_parts() {
        for threads in [1, 2, 3] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for count in [0, 1, 2, 40] {
                let parts: Vec<u64> = (0..count).collect();
                // The first ones take longest, and each has parts of its own.
                let work = |i: usize, part: u64| {
                    std::thread::sleep(std::time::Duration::from_micros(200 * (count - part)));
                    let inner = side_by_side(vec![part; 3], |j, part| part + j as u64);
                    (i, inner.iter().sum::<u64>())
                };
                let results = pool.install(|| side_by_side(parts, work));
                let expected = (0..count).map(|part| (part as usize, 3 * part + 3));
                assert!(
                    results.into_iter().eq(expected),
                    "{threads} threads, {count} parts"
                );
            }
        }
    }
}
