/// Percent-encoding by RFC 3986: every byte but the unreserved `A-Z a-z 0-9 - _ . ~` as `%XX` with uppercase
/// digits. Signing depends on exactly this set, so nothing here leaves the choice to a library.
package enum PercentEncoding {
    /// - Parameter keepingSlash: leaves `/` as it is, for paths.
    package static func encode(_ bytes: some Sequence<UInt8>, keepingSlash: Bool = false) -> String {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(bytes.underestimatedCount)
        for byte in bytes {
            if isUnreserved(byte) || (keepingSlash && byte == UInt8(ascii: "/")) {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(Hex.upper(byte >> 4))
                encoded.append(Hex.upper(byte & 15))
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    package static func encode(_ text: String, keepingSlash: Bool = false) -> String {
        encode(text.utf8, keepingSlash: keepingSlash)
    }

    /// The bytes that `text` stands for, or nil where a `%` is not followed by two hex digits.
    ///
    /// - Parameter plusAsBlank: turns `+` into a blank, as S3 listings with `encoding-type=url` want; OSS
    ///   sends `%20`.
    package static func decode(_ text: some Sequence<UInt8>, plusAsBlank: Bool = false) -> [UInt8]? {
        decode(Array(text), plusAsBlank: plusAsBlank)
    }

    /// The same. Not generic, because every key of every listing comes through here from another module.
    package static func decode(_ text: [UInt8], plusAsBlank: Bool = false) -> [UInt8]? {
        guard text.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return text }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(Hex.value),
                    let low = iterator.next().flatMap(Hex.value)
                else {
                    return nil
                }
                decoded.append(high << 4 | low)
            case UInt8(ascii: "+") where plusAsBlank:
                decoded.append(UInt8(ascii: " "))
            default:
                decoded.append(byte)
            }
        }
        return decoded
    }

    package static func decode(_ text: String, plusAsBlank: Bool = false) -> [UInt8]? {
        decode(text.utf8, plusAsBlank: plusAsBlank)
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

/// Hexadecimal digits of bytes.
package enum Hex {
    /// Lowercase, two digits a byte.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var digits: [UInt8] = []
        for byte in bytes {
            digits.append(lower(byte >> 4))
            digits.append(lower(byte & 15))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    static func upper(_ nibble: UInt8) -> UInt8 {
        nibble + (nibble < 10 ? UInt8(ascii: "0") : UInt8(ascii: "A") - 10)
    }
    static func lower(_ nibble: UInt8) -> UInt8 {
        nibble + (nibble < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
    }

    package static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
