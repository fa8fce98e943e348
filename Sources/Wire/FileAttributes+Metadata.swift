internal import ThawCore

// The user metadata that hold a file's attributes. Written as s3fs and ossfs do (their man pages, "-o use_xattr", and
// the objects they make): `mode`, `uid` and `gid` as decimal numbers, `mtime` as decimal seconds, `xattr` as a
// percent-encoded JSON object of base64 values. rclone (rclone.org, "Metadata", and its s3 and local backends) has the
// same names, but its `mode` is octal and its `mtime` may be RFC 3339.

extension FileAttributes {
    /// Reads user metadata; what is missing or unreadable is nil.
    ///
    /// - Parameter metadata: names in lowercase and without the vendor's prefix
    package init(metadata: [String: String]) {
        self.init(
            mode: metadata["mode"].flatMap { Self.mode($0) },
            uid: metadata["uid"].flatMap { Self.number($0) },
            gid: metadata["gid"].flatMap { Self.number($0) },
            modified: metadata["mtime"].flatMap { MetadataTime.parse($0) },
            extended: metadata["xattr"].flatMap { Self.extended($0) } ?? [:])
    }

    /// `metadata` with these attributes in place of its own. What reads the same stays as it is written, and so does
    /// what is not an attribute.
    package func merged(into metadata: [String: String]) -> [String: String] {
        let known = FileAttributes(metadata: metadata)
        var merged = metadata
        if mode != known.mode { merged["mode"] = mode.map { String($0) } }
        if uid != known.uid { merged["uid"] = uid.map { String($0) } }
        if gid != known.gid { merged["gid"] = gid.map { String($0) } }
        if modified != known.modified { merged["mtime"] = modified.map { MetadataTime.text($0) } }
        if extended != known.extended { merged["xattr"] = extended.isEmpty ? nil : Self.text(extended) }
        return merged
    }

    /// Whether a store takes user metadata of this size: 2 KB on S3 and IBM COS, 8 KB on OSS, names and values
    /// together. The vendor's prefix is counted with the names, which is more than the providers count.
    package static func fits(_ metadata: [String: String], _ dialect: Dialect) -> Bool {
        let prefixBytes = "x-amz-meta-".utf8.count
        let bytes = metadata.reduce(0) { $0 + prefixBytes + $1.key.utf8.count + $1.value.utf8.count }
        switch dialect {
        case .oss: return bytes <= 8 << 10
        case .s3, .cos: return bytes <= 2 << 10
        // A vault's catalogue has room for what the kernel takes (`XATTR_SIZE_MAX`).
        case .oas: return bytes <= 64 << 10
        }
    }

    // MARK: - Single values

    private static func number(_ text: String) -> UInt32? {
        text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? UInt32(text) : nil
    }

    /// A decimal number, unless it can only be an octal one: by a leading zero, by its size, or because it would be of
    /// no type there is. A directory with special bits (`41777`) reads as a link with odd permissions in decimal.
    private static func mode(_ text: String) -> UInt32? {
        guard let decimal = number(text) else { return nil }
        guard let octal = UInt32(text, radix: 8), octal <= 0xFFFF else { return decimal <= 0xFFFF ? decimal : nil }
        let isLink = decimal & 0o170000 == 0o120000 && decimal != 0o120777
        let isOctal =
            text.hasPrefix("0") || decimal > 0xFFFF || !hasType(decimal) || isLink && octal & 0o170000 == 0o040000
        return isOctal ? octal : decimal
    }

    /// Whether the type's bits are those of a file, or none.
    private static func hasType(_ mode: UInt32) -> Bool {
        [0, 0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000].contains(mode & 0o170000)
    }

    private static func extended(_ text: String) -> [String: [UInt8]]? {
        guard let json = PercentEncoding.decode(text), case .object(let members)? = JSON(json) else { return nil }
        var extended: [String: [UInt8]] = [:]
        for (name, member) in members {
            guard let value = member.string.flatMap({ Base64.decode($0) }) else { return nil }
            extended[name] = value
        }
        return extended
    }

    private static func text(_ extended: [String: [UInt8]]) -> String {
        let json = JSON.object(extended.mapValues { .string(Base64.encode($0)) })
        return PercentEncoding.encode(json.text)
    }
}

/// The time in `mtime`.
enum MetadataTime {
    /// `1600000000.123456789`
    static func text(_ time: Timestamp) -> String {
        let magnitude = time.nanoseconds.magnitude
        let fraction = String(magnitude % 1_000_000_000)
        return (time.nanoseconds < 0 ? "-" : "") + "\(magnitude / 1_000_000_000)."
            + String(repeating: "0", count: 9 - fraction.utf8.count) + fraction
    }

    /// Seconds with or without a fraction, or `2006-01-02T15:04:05.999999999+02:00`; nil for anything else and for
    /// times that a `Timestamp` cannot hold.
    static func parse(_ text: String) -> Timestamp? { text.contains("T") ? rfc3339(text) : seconds(text) }

    private static func seconds(_ text: String) -> Timestamp? {
        let isNegative = text.hasPrefix("-")
        let parts = text.dropFirst(isNegative ? 1 : 0).split(separator: ".", omittingEmptySubsequences: false)
        guard let whole = parts.first, parts.count <= 2, isNumber(whole), let seconds = Int64(whole),
            seconds <= Int64.max / 1_000_000_000 - 1
        else { return nil }
        var nanoseconds = seconds * 1_000_000_000
        if parts.count == 2 {
            guard isNumber(parts[1]) else { return nil }
            // What is finer than a nanosecond is dropped.
            let digits = parts[1].prefix(9)
            nanoseconds += Int64(digits + String(repeating: "0", count: 9 - digits.count)) ?? 0
        }
        return Timestamp(nanoseconds: isNegative ? -nanoseconds : nanoseconds)
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    private static func rfc3339(_ text: String) -> Timestamp? {
        if text.hasSuffix("Z") { return WireDate.parseISO8601(text) }
        let zone = text.suffix(6)
        guard zone.count == 6, let sign = ["+": Int64(1), "-": -1][zone.prefix(1)],
            zone.dropFirst(3).hasPrefix(":"), let hours = Int64(zone.dropFirst().prefix(2)),
            let minutes = Int64(zone.suffix(2)), let local = WireDate.parseISO8601(text.dropLast(6) + "Z")
        else { return nil }
        return local - .seconds(sign * (hours * 3600 + minutes * 60))
    }
}
