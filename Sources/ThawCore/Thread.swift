internal import CThaw
internal import Glibc

/// A named thread of our own, for work that blocks: the Swift pool has as many threads as there are CPUs, and one
/// that blocks there is gone for everybody.
package struct Thread: Sendable {
    package struct Failure: Error { package let errno: Int32 }

    private let handle: pthread_t

    /// Starts `body` on a new thread with every signal blocked, so that signals reach the one thread that waits for
    /// them. The name is cut at 15 bytes. What `body` captures goes over to the thread.
    package init(name: String, _ body: sending @escaping () -> Void) throws(Failure) {
        var handle = pthread_t()
        // SAFETY: retained for the new thread, which takes it over; released here if there is none.
        let work = Unmanaged.passRetained(Work(name: name, body: body))
        let code = pthread_create(
            &handle, nil,
            { argument in
                guard let argument else { return nil }
                let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                var signals = sigset_t()
                sigfillset(&signals)
                pthread_sigmask(SIG_BLOCK, &signals, nil)
                thaw_thread_set_name(work.name)
                work.body()
                return nil
            }, work.toOpaque())
        guard code == 0 else {
            work.release()
            throw Failure(errno: code)
        }
        self.handle = handle
    }

    /// Waits for the thread to end. Once only, and never from the thread itself.
    package func join() { pthread_join(handle, nil) }

    private final class Work {
        let name: String
        let body: () -> Void

        init(name: String, body: @escaping () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
