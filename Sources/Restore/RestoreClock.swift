package import ThawCore

/// How the engine tells the time and waits for it. A test has one that it moves by hand, so that a restore of twelve
/// hours is over at once.
package struct RestoreClock: Sendable {
    package let now: @Sendable () -> ContinuousClock.Instant
    /// The date, which goes on where `now` does.
    package let date: @Sendable () -> Timestamp
    /// Returns at that time, or throws as soon as the task is cancelled.
    package let sleep: @Sendable (_ until: ContinuousClock.Instant) async throws -> Void

    package init(
        now: @escaping @Sendable () -> ContinuousClock.Instant, date: @escaping @Sendable () -> Timestamp,
        sleep: @escaping @Sendable (_ until: ContinuousClock.Instant) async throws -> Void
    ) {
        self.now = now
        self.date = date
        self.sleep = sleep
    }

    package static let continuous = RestoreClock(
        now: { .now }, date: { .now() }, sleep: { try await Task.sleep(until: $0, clock: .continuous) })

    func instant(of date: Timestamp) -> ContinuousClock.Instant { now() + (date - self.date()) }
}

/// One time at which something is to be done; the earliest that was set counts.
struct Alarm {
    private var task: Task<Void, Never>?
    private var time: ContinuousClock.Instant?

    /// `ring` runs once, and calls `clear` before anything else.
    mutating func set(
        _ new: ContinuousClock.Instant, _ clock: RestoreClock, ring: @escaping @Sendable () async -> Void
    ) {
        if let time, time <= new { return }
        task?.cancel()
        time = new
        task = Task {
            do { try await clock.sleep(new) } catch { return }
            await ring()
        }
    }

    mutating func cancel() {
        task?.cancel()
        clear()
    }

    mutating func clear() {
        task = nil
        time = nil
    }
}
