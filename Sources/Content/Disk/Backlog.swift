internal import Synchronization

/// What is on its way to the disk, which lies in memory until it is there; and who waits until that is less.
final class Backlog: Sendable {
    fileprivate struct State {
        var bytes = 0
        var settled = 0
        var held: [UInt64: Held] = [:]
        var nextHeld: UInt64 = 0
        var isWatched = false
        /// The disk has done nothing for so long that nobody waits for it.
        var isStuck = false
        var isEnded = false
    }

    fileprivate struct Held {
        let budget: Int
        let continuation: CheckedContinuation<Void, Never>
    }

    private let state = Mutex(State())
    private let patience: Duration
    private let whenStuck: @Sendable () -> Void

    /// A disk that does nothing for as long as `patience` is not waited for until it does something.
    init(patience: Duration, whenStuck: @escaping @Sendable () -> Void) {
        self.patience = patience
        self.whenStuck = whenStuck
    }

    var bytes: Int { state.withLock { $0.bytes } }
    /// Parts of which nothing more is to be done.
    var settled: Int { state.withLock { $0.settled } }
    /// Who is held back now.
    var heldBack: Int { state.withLock { $0.held.count } }
    var isEnded: Bool { state.withLock { $0.isEnded } }

    /// Counts so many bytes in, which `settle` counts out; false when they had better go without. What was restored is
    /// always taken while the disk does something: see `holdBack`.
    func announce(_ bytes: Int, isRestored: Bool, within budget: Int) -> Bool {
        state.withLock { state in
            let isTaken = state.bytes + bytes <= budget || isRestored && !state.isStuck
            guard isTaken, !state.isEnded else { return false }
            state.bytes += bytes
            return true
        }
    }

    /// They are on the disk, or never will be.
    func settle(_ bytes: Int) {
        let released = state.withLock { state in
            state.bytes -= bytes
            state.settled += 1
            state.isStuck = false
            let left = state.bytes
            return state.release { left <= $0.budget }
        }
        for held in released { held.continuation.resume() }
    }

    /// Returns once no more than the budget is on its way, or the disk does nothing, or the task is cancelled.
    func holdBack(within budget: Int) async {
        guard bytes > budget else { return }
        let id = state.withLock { state in
            state.nextHeld += 1
            return state.nextHeld
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isHeld = state.withLock { state in
                    guard state.bytes > budget, !state.isStuck, !state.isEnded, !Task.isCancelled else { return false }
                    state.held[id] = Held(budget: budget, continuation: continuation)
                    if !state.isWatched { Task { await watch() } }
                    state.isWatched = true
                    return true
                }
                if !isHeld { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.held.removeValue(forKey: id) }?.continuation.resume()
        }
    }

    /// Nothing more is taken, and nobody held back.
    func end() {
        let released = state.withLock { state in
            state.isEnded = true
            return state.release { _ in true }
        }
        for held in released { held.continuation.resume() }
    }

    /// Looks after who is held back, for as long as somebody is.
    private func watch() async {
        while true {
            let before = settled
            try? await Task.sleep(for: patience)
            let (released, isOver) = state.withLock { state in
                if !state.held.isEmpty, state.settled != before { return ([Held](), false) }
                state.isWatched = false
                state.isStuck = !state.held.isEmpty
                return (state.release { _ in true }, true)
            }
            if !released.isEmpty { whenStuck() }
            for held in released { held.continuation.resume() }
            if isOver { return }
        }
    }
}

extension Backlog.State {
    fileprivate mutating func release(_ isReleased: (Backlog.Held) -> Bool) -> [Backlog.Held] {
        guard !held.isEmpty else { return [] }
        let released = held.filter { isReleased($0.value) }
        for id in released.keys { held[id] = nil }
        return Array(released.values)
    }
}
