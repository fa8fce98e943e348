extension Units {
    /// `512 B`, `1.2 TiB`: binary multiples, rounded to a tenth.
    package static func text(bytes: UInt64) -> String {
        var (size, unit) = (Double(bytes), 0)
        // In tenths, so that 1023.96 KiB is 1 MiB and not 1024 KiB.
        while (size * 10).rounded() >= 10_240, unit < 6 {
            size /= 1024
            unit += 1
        }
        let value = UInt64((size * 10).rounded())
        let fraction = value % 10 == 0 ? "" : ".\(value % 10)"
        return "\(count(value / 10))\(fraction) \(["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][unit])"
    }

    /// `12 s`, `5 min`, `2 h 10 min`, `48 h`, `7 d 4 h`: the two largest units, rounded down. Nothing is negative.
    package static func text(_ duration: Duration) -> String {
        let seconds = max(duration.components.seconds, 0)
        let (large, small): ((Int64, String), (Int64, String)) =
            switch seconds {
            case ..<60: ((seconds, "s"), (0, ""))
            case ..<3600: ((seconds / 60, "min"), (seconds % 60, "s"))
            case ..<(72 * 3600): ((seconds / 3600, "h"), (seconds / 60 % 60, "min"))
            default: ((seconds / 86_400, "d"), (seconds / 3600 % 24, "h"))
            }
        return "\(count(large.0)) \(large.1)" + (small.0 == 0 ? "" : " \(small.0) \(small.1)")
    }

    /// `1,234,567`
    package static func count(_ number: some BinaryInteger) -> String {
        let digits = String(number)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3), text != "-" { text += "," }
            text.append(digit)
        }
        return text
    }
}
