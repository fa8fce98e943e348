/// How the coordinator tells the time and waits for it. A test has one that it moves by hand, so that a restore of
/// twelve hours is over at once.
package struct RestoreClock: Sendable {
    package let now: @Sendable () -> ContinuousClock.Instant
    /// Returns at that time, or throws as soon as the task is cancelled.
    package let sleep: @Sendable (_ until: ContinuousClock.Instant) async throws -> Void

    package init(
        now: @escaping @Sendable () -> ContinuousClock.Instant,
        sleep: @escaping @Sendable (_ until: ContinuousClock.Instant) async throws -> Void
    ) {
        self.now = now
        self.sleep = sleep
    }

    package static let continuous = RestoreClock(
        now: { .now }, sleep: { try await Task.sleep(until: $0, clock: .continuous) })
}
