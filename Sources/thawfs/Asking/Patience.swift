import Synchronization
import ThawCore

/// Looks at files of mounts whose daemon may be stopped: a system call on one of them then does not return, and no
/// signal but the end of the process helps. So they are made on a thread that is left behind.
final class Patience<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        /// What is being looked at, and since when.
        var subject: String
        var since = ContinuousClock.now
    }

    private let state: Mutex<State>
    private let wakeup: Wakeup
    private let timeout: Duration

    /// Begins. `look` is given a function that tells what it looks at next, which begins the timeout anew.
    init(
        with subject: String, timeout: Duration = .seconds(10),
        _ look: @escaping @Sendable (_ next: (String) -> Void) throws -> Value
    ) throws {
        state = Mutex(State(subject: subject))
        self.timeout = timeout
        do throws(Thread.Failure) {
            wakeup = try Wakeup()
            _ = try Thread(name: "look") { [self] in
                let result = Result { try look { subject in turn(to: subject) } }
                state.withLock { $0.result = result }
                wakeup.signal()
            }
        } catch {
            throw UsageError("no thread: \(errorText(error.errno))")
        }
    }

    private func turn(to subject: String) {
        state.withLock { state in
            state.subject = subject
            state.since = .now
        }
    }

    /// What came of it; throws what it threw, or that nothing came.
    func value() throws -> Value {
        while true {
            let (result, subject, since) = state.withLock { ($0.result, $0.subject, $0.since) }
            if let result { return try result.get() }
            let left = ContinuousClock.now.duration(to: since + timeout) / Duration.milliseconds(1)
            guard left > 0 else {
                throw UsageError("\(subject): the mount does not answer; its daemon is stopped or stuck")
            }
            wakeup.wait(timeoutMilliseconds: Int32(left.rounded(.up)))
        }
    }
}
