import ThawCore
import Wire

/// JSON as credential endpoints and processes speak it: read whole, strictly, numbers kept as text.
enum JSON: Equatable {
    case object([String: JSON])
    case array([JSON])
    case string(String)
    case number(String)
    case bool(Bool)
    case null

    /// Nil when the bytes are not one JSON document.
    init?(_ bytes: [UInt8]) {
        var parser = Parser(bytes: bytes)
        guard let value = parser.document() else { return nil }
        self = value
    }

    /// The member of an object.
    subscript(name: String) -> JSON? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    var text: String? {
        switch self {
        case .string(let text), .number(let text): text
        default: nil
        }
    }

    private struct Parser {
        let bytes: [UInt8]
        var position = 0

        private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

        mutating func document() -> JSON? {
            guard let value = value(depth: 0) else { return nil }
            skipBlanks()
            return position == bytes.count ? value : nil
        }

        private mutating func value(depth: Int) -> JSON? {
            guard depth < 32 else { return nil }
            skipBlanks()
            switch next {
            case UInt8(ascii: "{"): return object(depth)
            case UInt8(ascii: "["): return array(depth)
            case UInt8(ascii: "\""): return string().map(JSON.string)
            case UInt8(ascii: "t"): return take("true") ? .bool(true) : nil
            case UInt8(ascii: "f"): return take("false") ? .bool(false) : nil
            case UInt8(ascii: "n"): return take("null") ? .null : nil
            default: return number()
            }
        }

        private mutating func object(_ depth: Int) -> JSON? {
            position += 1
            var members: [String: JSON] = [:]
            skipBlanks()
            if take("}") { return .object(members) }
            repeat {
                skipBlanks()
                guard next == UInt8(ascii: "\""), let name = string() else { return nil }
                skipBlanks()
                guard take(":"), let member = value(depth: depth + 1) else { return nil }
                members[name] = member
                skipBlanks()
            } while take(",")
            return take("}") ? .object(members) : nil
        }

        private mutating func array(_ depth: Int) -> JSON? {
            position += 1
            var elements: [JSON] = []
            skipBlanks()
            if take("]") { return .array(elements) }
            repeat {
                guard let element = value(depth: depth + 1) else { return nil }
                elements.append(element)
                skipBlanks()
            } while take(",")
            return take("]") ? .array(elements) : nil
        }

        private mutating func number() -> JSON? {
            let start = position
            while let byte = next, "+-.0123456789eE".utf8.contains(byte) { position += 1 }
            let text = String(decoding: bytes[start..<position], as: UTF8.self)
            return Double(text) == nil ? nil : .number(text)
        }

        private mutating func string() -> String? {
            position += 1
            var units: [UInt8] = []
            while let byte = next {
                position += 1
                switch byte {
                case UInt8(ascii: "\""): return String(validating: units, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let scalar = escape() else { return nil }
                    units += Array(String(scalar).utf8)
                case 0..<0x20: return nil
                default: units.append(byte)
                }
            }
            return nil
        }

        private mutating func escape() -> Unicode.Scalar? {
            guard let byte = next else { return nil }
            position += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
            case UInt8(ascii: "b"): return "\u{8}"
            case UInt8(ascii: "f"): return "\u{C}"
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "u"): return unicode()
            default: return nil
            }
        }

        private mutating func unicode() -> Unicode.Scalar? {
            guard let high = codeUnit() else { return nil }
            guard (0xD800..<0xDC00).contains(high) else { return Unicode.Scalar(high) }
            guard take("\\u"), let low = codeUnit(), (0xDC00..<0xE000).contains(low) else { return nil }
            return Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))
        }

        private mutating func codeUnit() -> UInt32? {
            guard position + 4 <= bytes.count else { return nil }
            let digits = bytes[position..<position + 4]
            guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
            position += 4
            return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        }

        private mutating func take(_ token: String) -> Bool {
            guard bytes[position...].starts(with: token.utf8) else { return false }
            position += token.utf8.count
            return true
        }

        private mutating func skipBlanks() {
            while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
                position += 1
            }
        }
    }
}

extension Lease {
    /// Reads the document of an instance role, a container endpoint or a credential process.
    ///
    /// - Parameters:
    ///   - secret, token: what this vendor calls them
    init(_ json: JSON, secret: String, token: String, from place: String) throws(CredentialsError) {
        if let code = json["Code"]?.text, code != "Success" {
            throw CredentialsError("\(place) answered with code \(code)")
        }
        guard let key = json["AccessKeyId"]?.text, let secret = json[secret]?.text else {
            throw CredentialsError("\(place) gave a document without a key")
        }
        var expires: Timestamp?
        if let text = json["Expiration"]?.text {
            guard let time = WireDate.parseISO8601(text) else {
                throw CredentialsError("\(place) gave an Expiration that cannot be read: \(text)")
            }
            expires = time
        }
        self.init(
            Credentials(accessKeyID: key, secretAccessKey: secret, sessionToken: json[token]?.text),
            expires: expires
        )
    }
}
