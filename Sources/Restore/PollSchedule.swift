/// When to ask again whether an object is restored.
///
/// Begins at a hundredth of the documented time and slows down to a twentieth, with bounds: a one-minute restore is
/// noticed within three seconds, a twelve-hour one is first asked about after a minute and then every five. Whoever
/// comes to read it in between is a reason to look at once (`RestoreCoordinator.request`).
package struct PollSchedule: Sendable {
    private var delay: Duration
    private let delayMax: Duration

    package init(longest: Duration) {
        delay = min(max(longest / 100, .milliseconds(500)), .seconds(60))
        delayMax = min(max(longest / 20, .seconds(2)), .seconds(300))
    }

    /// The delay before the next question; `jitter` is a fraction in 0..<1 that spreads many objects over time.
    package mutating func next(jitter: Double) -> Duration {
        defer { delay = min(delay * 2, delayMax) }
        return delay * (0.9 + 0.1 * jitter)
    }
}
