internal import Synchronization

/// Holds tasks back until it is opened; a cancelled one goes on at once.
package final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var next: UInt64 = 0
        var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = Mutex<State>(State())

    package init() {}

    package var waiting: Int { state.withLock { $0.waiting.count } }

    package func open() {
        let released = state.withLock { state in
            defer { state.waiting = [:] }
            state.isOpen = true
            return state.waiting.values.map { $0 }
        }
        for continuation in released { continuation.resume() }
    }

    package func pass() async {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isHeld = state.withLock { state in
                    if state.isOpen || Task.isCancelled { return false }
                    state.waiting[id] = continuation
                    return true
                }
                if !isHeld { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume()
        }
    }
}
