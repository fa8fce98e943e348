#if canImport(Glibc)
import Glibc
#endif

/// A point in wall-clock time, in nanoseconds since the Unix epoch (years 1678 to 2262).
package struct Timestamp: Hashable, Comparable, Sendable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package init(seconds: Int64) { self.nanoseconds = seconds &* 1_000_000_000 }

    package static let epoch = Timestamp(nanoseconds: 0)

    /// Whole seconds, rounded down.
    package var seconds: Int64 {
        nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : (nanoseconds - 999_999_999) / 1_000_000_000
    }

    package static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Whether this is so far after the other that a clock must have been set back in between.
    package func isAhead(of other: Timestamp) -> Bool { self > other + .seconds(60) }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    package static func + (left: Timestamp, right: Duration) -> Timestamp {
        Timestamp(nanoseconds: left.nanoseconds &+ right.nanosecondsClamped)
    }

    package static func - (left: Timestamp, right: Duration) -> Timestamp {
        Timestamp(nanoseconds: left.nanoseconds &- right.nanosecondsClamped)
    }

    package static func - (left: Timestamp, right: Timestamp) -> Duration {
        .nanoseconds(left.nanoseconds &- right.nanoseconds)
    }
}

extension Duration {
    /// This duration in nanoseconds; about 146 years at the most, so that adding it to a date cannot overflow.
    package var nanosecondsClamped: Int64 {
        let (seconds, attoseconds) = components
        if seconds > Int64.max / 2_000_000_000 { return Int64.max / 2 }
        if seconds < Int64.min / 2_000_000_000 { return Int64.min / 2 }
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    package var secondsRounded: Double { Double(nanosecondsClamped) / 1e9 }
}
