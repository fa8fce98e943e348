internal import Synchronization

/// A serial executor on a thread of its own: the home of an actor whose work blocks (SQLite, disk), so that it never
/// takes a thread of the Swift pool. Jobs run in the order in which they came.
///
/// The thread lives as long as the process; executors are made once, when the mount is built.
package final class ThreadExecutor: SerialExecutor {
    private let jobs = Mutex<[UnownedJob]>([])
    private let wakeup: Wakeup

    /// The name is cut at 15 bytes. Throws when the system has no descriptor or thread left.
    package init(name: String) throws(Thread.Failure) {
        wakeup = try Wakeup()
        _ = try Thread(name: name) { [self] in run() }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let wasIdle = jobs.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        if wasIdle { wakeup.signal() }
    }

    private func run() -> Never {
        while true {
            wakeup.wait()
            let batch = jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
        }
    }
}
