/// Sizes and durations as options and attributes spell them.
package enum Units {
    /// `30s`, `5m`, `12h`, `7d`, `250ms`; a bare number is seconds. Nil when the text is none of these, or over 100
    /// years.
    package static func duration(_ text: String) -> Duration? {
        let scales: [(suffix: String, milliseconds: Int64)] = [
            ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("", 1000),
        ]
        for scale in scales where text.hasSuffix(scale.suffix) {
            guard let value = decimal(text.dropLast(scale.suffix.count)) else { return nil }
            let (milliseconds, overflow) = value.multipliedReportingOverflow(by: scale.milliseconds)
            guard !overflow, milliseconds <= 100 * 366 * 86_400_000 else { return nil }
            return .milliseconds(milliseconds)
        }
        return nil
    }

    /// `64M`, `100G`, `1T`: binary multiples as coreutils reads them (`KiB`, `K` and `k` are 1024); a bare number is
    /// bytes. Nil when the text is none of these.
    package static func bytes(_ text: String) -> UInt64? {
        var digits = Substring(text)
        let isSpeltOut = digits.hasSuffix("iB")
        if isSpeltOut { digits = digits.dropLast(2) }
        var shift: UInt64 = 0
        if let last = digits.last, let index = Array("KMGTPE").firstIndex(of: last == "k" ? "K" : last) {
            shift = UInt64(index + 1) * 10
            digits = digits.dropLast()
        } else if isSpeltOut {
            return nil
        }
        guard let value = decimal(digits) else { return nil }
        let (bytes, overflow) = UInt64(value).multipliedReportingOverflow(by: 1 << shift)
        return overflow ? nil : bytes
    }

    private static func decimal(_ digits: Substring) -> Int64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return Int64(digits)
    }
}
