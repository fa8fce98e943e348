internal import Fuse
internal import Glibc
internal import Synchronization
internal import ThawCore

/// Requests that were taken off the reader threads and have not been answered: who waits, and how to stop it.
///
/// The kernel tells of a signal once per request. A signal that kills the caller, or by which a person wants it to
/// stop, ends the wait; any other (the Go runtime sends itself SIGURG all the time) must not, or ordinary programs
/// see EINTR where none can be. So an interrupt is looked at, and looked at again every second while it was let pass:
/// a fatal signal that follows a harmless one is not announced.
final class InFlight: Sendable {
    private struct State {
        var next: UInt64 = 1
        var operations: [UInt64: Operation] = [:]
        var isStopping = false
    }

    private struct Operation {
        let thread: Int32
        var task: Task<Void, Never>?
        var isInterrupted = false
    }

    private let state = Mutex<State>(State())
    private let wakeup: Wakeup

    init() throws(Thread.Failure) { wakeup = try Wakeup() }

    /// Runs `body` as a task that a fatal signal to the caller cancels. `body` answers the request.
    func run(_ request: consuming Request, _ body: @escaping @Sendable (DeferredReply) async -> Void) {
        let thread = request.callerThread
        let reply = request.deferred()
        let id: UInt64? = state.withLock { state in
            guard !state.isStopping else { return nil }
            defer { state.next += 1 }
            state.operations[state.next] = Operation(thread: thread)
            return state.next
        }
        guard let id else {
            reply.finish(errno: EIO)
            return
        }
        // Before anything can answer: arming touches the request. A signal that came already is told at once.
        reply.armInterrupt(id: id)
        let task = Task {
            await body(reply)
            _ = self.state.withLock { $0.operations.removeValue(forKey: id) }
        }
        // It may have ended already; then nobody needs to be able to stop it.
        let isStopping = state.withLock { state in
            state.operations[id]?.task = task
            return state.isStopping
        }
        if isStopping { task.cancel() }
    }

    /// Notes that a signal came. Runs under libfuse's lock: nothing is answered from here.
    func interrupted(_ id: UInt64) {
        let isKnown = state.withLock { state in
            state.operations[id]?.isInterrupted = true
            return state.operations[id] != nil
        }
        if isKnown { wakeup.signal() }
    }

    /// Looks at interrupted callers until `stop`. On a thread of its own.
    func watchInterrupts() {
        var isWatching = false
        while true {
            wakeup.wait(timeoutMilliseconds: isWatching ? 1000 : -1)
            let (watched, isStopping) = state.withLock { state in
                (state.operations.filter(\.value.isInterrupted), state.isStopping)
            }
            if isStopping { return }
            for operation in watched.values where CallerSignals.areFatal(thread: operation.thread) {
                operation.task?.cancel()
            }
            isWatching = !watched.isEmpty
        }
    }

    /// Cancels everything; what comes later is refused.
    func stop() {
        let tasks = state.withLock { state in
            state.isStopping = true
            return state.operations.values.compactMap(\.task)
        }
        for task in tasks { task.cancel() }
        wakeup.signal()
    }

    var count: Int { state.withLock { $0.operations.count } }
}

/// What the kernel shows of the signals that a thread has not yet taken.
enum CallerSignals {
    /// Whether the thread is dying, or has been asked to stop. A caller that is gone, or outside our pid namespace
    /// (thread 0), is taken at the interrupt's word.
    static func areFatal(thread: Int32) -> Bool {
        guard thread > 0, let status = readSmallFile("/proc/\(thread)/status") else { return true }
        let fatal: UInt64 = [SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGQUIT].reduce(0) { $0 | 1 << UInt64($1 - 1) }
        for line in status.split(separator: "\n") where line.hasPrefix("SigPnd:") || line.hasPrefix("ShdPnd:") {
            let digits = line.dropFirst(7).drop { $0 == "\t" || $0 == " " }
            if let pending = UInt64(digits, radix: 16), pending & fatal != 0 { return true }
        }
        return false
    }

    private static func readSmallFile(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }
}
