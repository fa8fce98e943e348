internal import Metadata
internal import ThawCore
internal import Wire

/// When to look again whether an object is restored.
///
/// Before the shortest documented time only now and then, for providers that are quicker than they say; from then on
/// every fortieth of the longest. A one-minute restore is noticed within three seconds, and one of five to twelve
/// hours is looked at about thirty times, which is thirty listings for a thousand objects. What takes longer than
/// documented is looked at less and less. Whoever comes to read the object is a reason to look at once.
package enum PollSchedule {
    private static let firstDelay = Duration.milliseconds(500)
    private static let delayMin = Duration.seconds(2)
    private static let quickMax = Duration.seconds(300)
    private static let delayMax = Duration.seconds(3600)

    /// The delay after a look at this time since the provider took the request; `jitter` is a fraction in 0..<1.
    package static func delay(elapsed: Duration, shortest: Duration, longest: Duration, jitter: Double) -> Duration {
        var delay = longest / 40
        if elapsed < shortest {
            delay = min(max(shortest - elapsed, delay), longest / 8)
        } else if elapsed > longest {
            delay = max(delay, (elapsed - longest) / 4)
        }
        delay = min(max(delay, delayMin), delayMax)
        // A quick one may be over at once, or somebody else asked for it long ago.
        if longest <= quickMax { delay = min(delay, max(elapsed, firstDelay)) }
        return delay * (0.95 + 0.05 * jitter)
    }

    /// When a copy that is to stay is asked for again: an hour before its end, or half way to it.
    static func renewal(until: Timestamp, at now: Timestamp) -> Timestamp {
        until - min(.seconds(3600), max(until - now, .zero) / 2)
    }
}

extension ArchiveRules {
    func nextLook(tier: RestoreTier?, askedAt: Timestamp, now: Timestamp, jitter: Double) -> Timestamp {
        now
            + PollSchedule.delay(
                elapsed: max(now - askedAt, .zero), shortest: shortest(tier), longest: longest(tier) ?? .seconds(3600),
                jitter: jitter)
    }
}
