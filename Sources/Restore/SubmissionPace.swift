/// How fast one lane submits: never faster than the provider's limit, and as slow as it asks.
///
/// A token bucket: a twentieth of a second's worth may go at once, and the rest comes at 19/20 of the limit, so that no
/// second ever has more than the limit. A refusal for haste halves the rate, once a second at the most, and pauses;
/// every second of success gives a tenth of the limit back.
package struct SubmissionPace: Sendable {
    private let perSecondMax: Double
    package private(set) var perSecond: Double
    private var tokens: Double
    private var refilledAt: ContinuousClock.Instant
    private var slowedAt: ContinuousClock.Instant?
    package private(set) var pausedUntil: ContinuousClock.Instant?

    package init(perSecondMax: Double, at now: ContinuousClock.Instant) {
        self.perSecondMax = perSecondMax
        perSecond = perSecondMax
        tokens = max(perSecondMax / 20, 1)
        refilledAt = now
    }

    private var burst: Double { max(perSecond / 20, 1) }

    /// How many may be sent now.
    package mutating func allowance(at now: ContinuousClock.Instant) -> Int {
        if let pausedUntil {
            guard pausedUntil <= now else { return 0 }
            self.pausedUntil = nil
            refilledAt = now
        }
        let elapsed = max((now - refilledAt) / .seconds(1), 0)
        tokens = min(tokens + elapsed * perSecond * 0.95, burst)
        refilledAt = now
        // What is a rounding short of a whole one is one.
        return Int(tokens + 0.001)
    }

    package mutating func take(_ count: Int) { tokens -= Double(count) }

    /// When the next may be sent, if none may now; when half a burst may, so that many go together.
    package func nextAllowance(after now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        if let pausedUntil, pausedUntil > now { return pausedUntil }
        let missing = max(burst / 2, 1) - tokens
        return now + .seconds(max(missing, 0.1) / (perSecond * 0.95))
    }

    /// The provider asks for less haste. True when it has not before, or the full rate was reached since: worth a line
    /// in the log.
    package mutating func throttled(retryAfter: Duration?, at now: ContinuousClock.Instant) -> Bool {
        let isNews = perSecond == perSecondMax
        let pause = now + max(retryAfter ?? .zero, .seconds(1))
        pausedUntil = max(pausedUntil ?? pause, pause)
        if let slowedAt, now - slowedAt < .seconds(1) { return false }
        slowedAt = now
        perSecond = max(perSecond / 2, 1)
        tokens = 0
        return isNews
    }

    package mutating func accepted() { perSecond = min(perSecond + perSecondMax / 10 / perSecond, perSecondMax) }
}

/// Bytes charged to an account within a window that moves on, by the minute.
package struct Spending: Sendable {
    private let windowMinutes: Int64
    private var minutes: [(minute: Int64, bytes: UInt64)] = []
    private var sum: UInt64 = 0

    package init(window: Duration) { windowMinutes = max(window.components.seconds / 60, 1) }

    /// The first minute that still counts.
    package func firstMinute(at minute: Int64) -> Int64 { minute - windowMinutes + 1 }

    package mutating func charge(_ bytes: UInt64, at minute: Int64) {
        sum &+= bytes
        if let last = minutes.last, last.minute >= minute {
            minutes[minutes.count - 1].bytes &+= bytes
        } else {
            minutes.append((minute, bytes))
        }
    }

    /// Takes back a charge that came to nothing: of the latest minutes, because it is seldom old.
    package mutating func refund(_ bytes: UInt64) {
        var rest = bytes
        for index in minutes.indices.reversed() where rest > 0 {
            let taken = min(minutes[index].bytes, rest)
            minutes[index].bytes -= taken
            sum &-= taken
            rest -= taken
        }
    }

    package mutating func total(at minute: Int64) -> UInt64 {
        let gone = minutes.prefix { $0.minute < firstMinute(at: minute) }
        for charge in gone { sum &-= charge.bytes }
        minutes.removeFirst(gone.count)
        return sum
    }

    /// The minute in which the oldest charge stops to count.
    package var nextRelief: Int64? { minutes.first.map { $0.minute + windowMinutes } }
}
