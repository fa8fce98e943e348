package import ThawCore

/// The time by which archive classes are restored and restored copies expire. Runs with the real clock,
/// faster by `scale`, and can be moved forward. Signatures do not go by it.
package struct VirtualClock: Sendable, Equatable {
    /// The real and the virtual time of the latest change of pace.
    private var real: Timestamp
    private var virtual: Timestamp
    /// Virtual seconds in a real one; not negative, 0 stands still.
    package private(set) var scale: Double

    package init(real: Timestamp, virtual: Timestamp, scale: Double) {
        self.real = real
        self.virtual = virtual
        self.scale = scale
    }

    package func time(real now: Timestamp) -> Timestamp {
        let elapsed = max(0, (now - real).secondsRounded) * scale
        return virtual + .nanoseconds(Int64(min(elapsed * 1e9, 4e18)))
    }

    package mutating func advance(by duration: Duration, real now: Timestamp) {
        virtual = time(real: now) + duration
        real = now
    }

    package mutating func setScale(_ scale: Double, real now: Timestamp) {
        advance(by: .zero, real: now)
        self.scale = scale
    }
}

extension Duration {
    /// Reads `90`, `1.5h`, `12h`, `2d`, `1h30m`, `250ms`: numbers with units `ms s m h d`, seconds without
    /// one. Nil for anything else.
    package init?(span text: String) {
        var total = 0.0
        var rest = Array(text.utf8)[...]
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix {
                $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") || $0 == UInt8(ascii: ".")
            }
            guard let number = Double(String(decoding: digits, as: UTF8.self)) else { return nil }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }
            rest = rest.dropFirst(unit.count)
            switch String(decoding: unit, as: UTF8.self) {
            case "ms": total += number / 1000
            case "s", "": total += number
            case "m": total += number * 60
            case "h": total += number * 3600
            case "d": total += number * 86400
            default: return nil
            }
        }
        guard total < 4e9 else { return nil }
        self = .nanoseconds(Int64(total * 1e9))
    }
}
