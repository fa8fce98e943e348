internal import Synchronization

/// Time that passes only when it is told to.
package final class ManualClock: Sendable {
    private struct State {
        var now = ContinuousClock.now
        var next: UInt64 = 0
        var sleepers: [UInt64: (until: ContinuousClock.Instant, continuation: CheckedContinuation<Void, Never>)] = [:]
    }

    private let state = Mutex<State>(State())

    package init() {}

    package var now: ContinuousClock.Instant { state.withLock { $0.now } }

    /// When the next sleeper is due; nil when nobody sleeps.
    package var nextWakeup: ContinuousClock.Instant? { state.withLock { $0.sleepers.values.map(\.until).min() } }

    package func advance(by duration: Duration) {
        let woken = state.withLock { state in
            state.now += duration
            let due = state.sleepers.filter { $0.value.until <= state.now }
            for id in due.keys { state.sleepers[id] = nil }
            return due.values.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }

    package func sleep(until deadline: ContinuousClock.Instant) async throws {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAsleep = state.withLock { state in
                    if state.now >= deadline || Task.isCancelled { return false }
                    state.sleepers[id] = (deadline, continuation)
                    return true
                }
                if !isAsleep { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: id) }?.continuation.resume()
        }
        try Task.checkCancellation()
    }
}
