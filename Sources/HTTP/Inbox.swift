internal import CThaw
internal import Glibc
internal import Synchronization
internal import ThawCore

/// What tasks ask of a loop. The loop sleeps in epoll; an eventfd wakes it, once for each batch of commands.
final class Inbox: Sendable {
    enum Command: Sendable {
        case start(Submission)
        /// Of a transfer that may have ended, or not have come yet.
        case cancel(UInt64)
    }

    struct Submission: Sendable {
        let id: UInt64
        let request: HTTPRequest
        let sink: (any BodySink)?
        /// Resumed exactly once: by the loop, which drops the transfer as it does so.
        let continuation: CheckedContinuation<Result<HTTPResponse, HTTPError>, Never>
    }

    /// Readable when there is something to `take`.
    let descriptor: Int32
    private let state = Mutex(State())

    private struct State {
        var commands: [Command] = []
        var isStopped = false
    }

    init() throws(HTTPError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw .connect("eventfd: \(errorText(errno))") }
    }

    deinit { close(descriptor) }

    /// False after `stop`: the command is dropped, and a submission's continuation stays the caller's.
    func post(_ command: Command) -> Bool {
        let (isAccepted, isFirst) = state.withLock { state in
            guard !state.isStopped else { return (false, false) }
            state.commands.append(command)
            return (true, state.commands.count == 1)
        }
        if isFirst { wake() }
        return isAccepted
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        wake()
    }

    /// Everything posted since the last time, and whether the loop must end after it.
    func take() -> (commands: [Command], isStopped: Bool) {
        // The count is cleared first: a command posted from here on wakes the loop again.
        var count: UInt64 = 0
        _ = read(descriptor, &count, MemoryLayout.size(ofValue: count))
        return state.withLock { state in
            let commands = state.commands
            state.commands = []
            return (commands, state.isStopped)
        }
    }

    private func wake() {
        var one: UInt64 = 1
        // It fails only when the count would overflow, and then the loop is awake anyway.
        _ = write(descriptor, &one, MemoryLayout.size(ofValue: one))
    }
}
