/// When to ask again whether an object is restored.
///
/// Quick at first, because a short restore may end at once; then slower, up to a twentieth of the documented time: a
/// one-minute restore is noticed within three seconds, a twelve-hour one costs a request every five minutes.
package struct PollSchedule: Sendable {
    private var delay: Duration = .milliseconds(500)
    private let delayMax: Duration

    package init(longest: Duration) {
        delayMax = min(max(longest / 20, .seconds(2)), .seconds(300))
    }

    /// The delay before the next question; `jitter` is a fraction in 0..<1 that spreads many objects over time.
    package mutating func next(jitter: Double) -> Duration {
        defer { delay = min(delay * 2, delayMax) }
        return delay * (0.9 + 0.1 * jitter)
    }
}
