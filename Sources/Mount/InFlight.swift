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
        var phase = Phase.open
    }

    enum Phase: Comparable {
        case open
        /// The mount is off the tree: nobody waits any more, and who still has a file open may bring his writing to its
        /// end.
        case draining
        case closed
    }

    private struct Operation {
        let thread: Int32
        let isChange: Bool
        var task: Task<Void, Never>?
        var isInterrupted = false
    }

    private let state = Mutex<State>(State())
    private let wakeup: Wakeup

    init() throws(Thread.Failure) { wakeup = try Wakeup() }

    /// Runs `body` as a task that a fatal signal to the caller cancels. `body` answers the request. One that
    /// `isChange` is let finish when the mount goes.
    func run(
        _ request: consuming Request, isChange: Bool = false,
        _ body: @escaping @Sendable (DeferredReply) async -> Void
    ) {
        let thread = request.caller.thread
        let reply = request.deferred()
        let id: UInt64? = state.withLock { state in
            guard state.phase.admits(isChange: isChange) else { return nil }
            defer { state.next += 1 }
            state.operations[state.next] = Operation(thread: thread, isChange: isChange)
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
        let isAdmitted = state.withLock { state in
            state.operations[id]?.task = task
            return state.phase.admits(isChange: isChange)
        }
        if !isAdmitted { task.cancel() }
    }

    /// Notes that a signal came. Runs under libfuse's lock: nothing is answered from here.
    func interrupted(_ id: UInt64) {
        let isKnown = state.withLock { state in
            state.operations[id]?.isInterrupted = true
            return state.operations[id] != nil
        }
        if isKnown { wakeup.signal() }
    }

    /// Looks at interrupted callers until all is closed. On a thread of its own.
    func watchInterrupts() {
        var isWatching = false
        while true {
            wakeup.wait(timeoutMilliseconds: isWatching ? 1000 : -1)
            let (watched, phase) = state.withLock { state in
                (state.operations.filter(\.value.isInterrupted), state.phase)
            }
            if phase == .closed { return }
            for operation in watched.values where CallerSignals.areFatal(thread: operation.thread) {
                operation.task?.cancel()
            }
            isWatching = !watched.isEmpty
        }
    }

    /// Cancels what the phase has no place for, and refuses what comes later. There is no way back.
    func enter(_ phase: Phase) {
        let tasks = state.withLock { state in
            state.phase = max(state.phase, phase)
            return state.operations.values.filter { !state.phase.admits(isChange: $0.isChange) }.compactMap(\.task)
        }
        for task in tasks { task.cancel() }
        wakeup.signal()
    }

    var count: Int { state.withLock { $0.operations.count } }
}

extension InFlight.Phase {
    func admits(isChange: Bool) -> Bool { self == .open || self == .draining && isChange }
}

/// What the kernel shows of the signals that a thread has not yet taken.
enum CallerSignals {
    /// By these a person or a supervisor wants the caller to stop, even if it handles them, as Python does.
    private static let stopping = mask([SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    /// These end a program that does not handle them. The kernel turns others that do into SIGKILL by itself.
    private static let dumping = mask([SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS])

    /// Whether the thread is dying, or has been asked to stop. A caller that is gone, or outside our pid namespace
    /// (thread 0), is taken at the interrupt's word.
    static func areFatal(thread: Int32) -> Bool {
        guard thread > 0, let status = readTextFile("/proc/\(thread)/status") else { return true }
        return areFatal(status: status)
    }

    /// By the text of `/proc/TID/status`.
    static func areFatal(status: String) -> Bool {
        var masks: [Substring: UInt64] = [:]
        for line in status.split(separator: "\n") where line.hasPrefix("Sig") || line.hasPrefix("ShdPnd:") {
            let parts = line.split(separator: ":")
            guard parts.count == 2 else { continue }
            masks[parts[0]] = UInt64(parts[1].drop { $0 == "\t" || $0 == " " }, radix: 16)
        }
        func signals(_ name: Substring) -> UInt64 { masks[name] ?? 0 }
        let taken = (signals("SigPnd") | signals("ShdPnd")) & ~signals("SigBlk") & ~signals("SigIgn")
        return taken & (stopping | dumping & ~signals("SigCgt")) != 0
    }

    private static func mask(_ signals: [Int32]) -> UInt64 { signals.reduce(0) { $0 | 1 << UInt64($1 - 1) } }
}
