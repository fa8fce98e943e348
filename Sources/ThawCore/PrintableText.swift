extension StringProtocol {
    /// For logs and terminals: control characters (C0, DEL and C1), with which a name or a provider's message could
    /// forge lines or steer a terminal, are question marks.
    package var printable: String {
        // C1 is U+0080…U+009F: 0xC2 and another byte.
        guard utf8.contains(where: { $0 < 0x20 || $0 == 0x7f || $0 == 0xc2 }) else { return String(self) }
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
            text.append(isControl ? "?" : scalar)
        }
        return String(text)
    }

    /// As `printable`, for text of several lines that are our own.
    package var printableLines: String {
        split(separator: "\n", omittingEmptySubsequences: false).map(\.printable).joined(separator: "\n")
    }
}
