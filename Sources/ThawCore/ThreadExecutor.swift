internal import CThaw
internal import Glibc
internal import Synchronization

/// A serial executor on a thread of its own: the home of an actor whose work blocks (SQLite, disk), so that it never
/// takes a thread of the Swift pool. Jobs run in the order in which they came.
///
/// The thread lives as long as the process; executors are made once, when the mount is built.
package final class ThreadExecutor: SerialExecutor {
    private let jobs = Mutex<[UnownedJob]>([])
    private let wakeup: Int32

    /// The name is cut at 15 bytes. Throws when the system has no descriptor or thread left.
    package init(name: String) throws(Thread.Failure) {
        wakeup = eventfd(0, Int32(EFD_CLOEXEC))
        guard wakeup >= 0 else { throw Thread.Failure(errno: errno) }
        _ = try Thread(name: name) { [self] in run() }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let wasIdle = jobs.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        guard wasIdle else { return }
        var one: UInt64 = 1
        while write(wakeup, &one, 8) == -1 && errno == EINTR {}
    }

    private func run() -> Never {
        while true {
            var count: UInt64 = 0
            while read(wakeup, &count, 8) == -1 && errno == EINTR {}
            let batch = jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
        }
    }
}
