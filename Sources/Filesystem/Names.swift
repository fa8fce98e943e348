internal import Wire

/// Keys and file names, both ways.
///
/// Nearly every segment of a key is a file name as it is. The others appear under a name that says so and can be read
/// back, and no two segments of one directory share a name:
///
///     %~SEGMENT   a segment that no path can name: empty, `.`, `..`, with a NUL, or one that itself begins with `%~`
///                 or `%=`; and `.versions`, whose name is taken (`Directory.View`)
///     %=SEGMENT   an object `a` beside keys `a/…`: the directory has the name `a`, the object this one
///
/// where `%` and NUL in SEGMENT are written `%25` and `%00`. Version ids are names in the same way; a slash in one,
/// which no segment has, is `%2F`. A name that would pass 255 bytes ends, after as much of
/// the segment as fits, in `%#` and 128 bits of the segment's SHA-256.
package enum Names {
    static let bytesMax = 255
    /// The directory of versions, which every directory has and none shows.
    static let versions = Array(".versions".utf8)
    /// What stands for it where segments do: no segment of a key is this.
    static let versionsSegment = Array("/.versions/".utf8)
    private static let escaped = Array("%~".utf8)
    private static let shadowed = Array("%=".utf8)
    private static let hashMark = Array("%#".utf8)
    private static let hashDigits = 32
    private static let slash = UInt8(ascii: "/")

    /// The file name of a segment (without the slash that ends a directory's). `isShadowed`: an object whose key is
    /// also a directory.
    package static func name(of segment: some Collection<UInt8>, isShadowed: Bool) -> [UInt8] {
        if !isShadowed, isPlain(segment) { return Array(segment) }
        let mark = isShadowed ? shadowed : escaped
        let body = encode(segment)
        if mark.count + body.count <= bytesMax { return mark + body }
        let room = bytesMax - mark.count - hashMark.count - hashDigits
        return mark + encode(leading(segment, encodedBytesMax: room)) + hashMark + hash(of: segment)
    }

    /// What a file name asks for.
    package enum Query: Equatable {
        /// The segment itself: a directory, or an object that is no directory.
        case segment([UInt8])
        /// The object of this name, where it is also a directory.
        case shadowed([UInt8])
        /// A segment that starts like this and has this name; to be found among the directory's entries.
        case hashed(leading: [UInt8], isShadowed: Bool)
    }

    /// Nil for a name that no segment has. Only of version ids is one asked for that has a slash.
    package static func query(_ name: [UInt8], mayHaveSlash: Bool = false) -> Query? {
        let isShadowed = name.starts(with: shadowed)
        guard isShadowed || name.starts(with: escaped) else { return isPlain(name) ? .segment(name) : nil }
        let body = name[2...]
        if let mark = body.indices.dropLast().last(where: { body[$0] == hashMark[0] && body[$0 + 1] == hashMark[1] }) {
            guard let leading = decode(body[..<mark]), mayHaveSlash || !leading.contains(slash) else { return nil }
            return .hashed(leading: leading, isShadowed: isShadowed)
        }
        guard let segment = decode(body), mayHaveSlash || !segment.contains(slash),
            Self.name(of: segment, isShadowed: isShadowed) == name
        else { return nil }
        return isShadowed ? .shadowed(segment) : .segment(segment)
    }

    /// Whether the segment is a file name as it is.
    static func isPlain(_ segment: some Collection<UInt8>) -> Bool {
        guard let first = segment.first, segment.count <= bytesMax,
            !segment.contains(where: { $0 == 0 || $0 == slash })
        else { return false }
        switch first {
        case UInt8(ascii: "."):
            return !segment.elementsEqual(versions) && !(segment.count <= 2 && segment.allSatisfy { $0 == first })
        case escaped[0]: return !segment.starts(with: escaped) && !segment.starts(with: shadowed)
        default: return true
        }
    }

    private static func encode(_ segment: some Collection<UInt8>) -> [UInt8] {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(segment.count + 8)
        for byte in segment {
            switch byte {
            case UInt8(ascii: "%"): encoded += Array("%25".utf8)
            case 0: encoded += Array("%00".utf8)
            case slash: encoded += Array("%2F".utf8)
            default: encoded.append(byte)
            }
        }
        return encoded
    }

    private static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        PercentEncoding.decode(text)
    }

    /// As much of the segment's beginning as is no longer than this when encoded, cut between UTF-8 characters.
    private static func leading(_ segment: some Collection<UInt8>, encodedBytesMax: Int) -> [UInt8] {
        var taken: [UInt8] = []
        var length = 0
        for byte in segment {
            length += byte == UInt8(ascii: "%") || byte == 0 || byte == slash ? 3 : 1
            if length > encodedBytesMax { break }
            taken.append(byte)
        }
        while taken.count < segment.count, let next = segment.dropFirst(taken.count).first, next & 0xC0 == 0x80,
            !taken.isEmpty
        {
            taken.removeLast()
        }
        return taken
    }

    private static func hash(of segment: some Collection<UInt8>) -> [UInt8] {
        Array(Digest.sha256Hex(Array(segment)).utf8.prefix(hashDigits))
    }
}
