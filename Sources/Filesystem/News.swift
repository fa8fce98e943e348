internal import Synchronization

/// What tasks wait for that need to know how something gets on: it is told, and they look again.
final class News: Sendable {
    private struct State {
        var edition = 0
        var next = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = Mutex<State>(State())

    /// Counts up. To be taken before the look that may lead to `wait`.
    var edition: Int { state.withLock { $0.edition } }

    /// Returns once there is a later edition than this, or the task is cancelled.
    func wait(after edition: Int) async {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLock { state in
                    guard state.edition == edition, !Task.isCancelled else { return false }
                    state.waiting[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume()
        }
    }

    func tell() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            state.edition += 1
            return state.waiting
        }
        for waiter in waiting.values { waiter.resume() }
    }
}
