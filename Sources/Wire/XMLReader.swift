/// Why a document is not well-formed XML.
package struct XMLError: Error, Equatable, Sendable, CustomStringConvertible {
    package let reason: String
    /// Bytes from the document's start.
    package let offset: Int

    package init(reason: String, offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String { "malformed XML at byte \(offset): \(reason)" }
}

/// A strict pull parser over the bytes of one document, for replies and request bodies of object stores.
///
/// Namespace prefixes and attributes are read past; comments, processing instructions and CDATA are
/// understood; a document type is refused, so no entity can be defined. Names are compared as bytes: a
/// listing of a thousand keys makes no string but those its reader asks for.
///
///     var xml = try XMLReader(body)            // stands on the root's start tag
///     while try xml.nextChild() {
///         if xml.isNamed("Key") { key = try xml.text() } else { try xml.skip() }
///     }
///     try xml.finish()
///
/// Whoever is told of a child by `nextChild()` must consume it, by `text()`, `skip()` or a loop of its own.
package struct XMLReader {
    /// Nesting deeper than this is refused.
    private static let depthMax = 64

    private let bytes: [UInt8]
    private var position = 0
    /// Names, with their prefixes, of the elements that are open.
    private var open: [Range<Int>] = []
    /// The local name of the start tag read last.
    private var name = 0..<0
    /// The start tag read last was `<a/>`: its end is still to be reported.
    private var endPending = false

    /// Reads up to the root element's start tag, on which the reader then stands.
    package init(_ bytes: [UInt8]) throws(XMLError) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        try skipMisc()
        guard peek() == UInt8(ascii: "<") else { throw fail("no root element") }
        try startTag()
    }

    /// Whether the element that started last has this local name.
    package func isNamed(_ wanted: StaticString) -> Bool {
        wanted.utf8CodeUnitCount == name.count && matches(wanted, at: name.lowerBound)
    }

    /// The local name of the element that started last.
    package var localName: String { String(decoding: bytes[name], as: UTF8.self) }

    /// Moves to the next child's start tag, passing text by; false at the end tag, which is consumed.
    package mutating func nextChild() throws(XMLError) -> Bool {
        while true {
            switch try next() {
            case .start: return true
            case .end: return false
            case .text, .entity: continue
            }
        }
    }

    /// The text of the element that started last, up to its end tag, which is consumed. Child elements are
    /// malformed.
    package mutating func text() throws(XMLError) -> [UInt8] {
        var text: [UInt8] = []
        while true {
            switch try next() {
            case .text(let range): text += bytes[range]
            case .entity(let scalar): text += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            case .end: return text
            case .start: throw fail("an element where text belongs")
            }
        }
    }

    /// `text()` as a string; malformed when it is not UTF-8.
    package mutating func string() throws(XMLError) -> String {
        let text = try text()
        guard let string = text.withUnsafeBufferPointer({ String(validating: $0, as: UTF8.self) }) else {
            throw fail("text is not UTF-8")
        }
        return string
    }

    /// The element that started last, whole; its end tag is consumed.
    package mutating func element() throws(XMLError) -> XMLElement {
        var element = XMLElement(name: localName)
        var text: [UInt8] = []
        while true {
            switch try next() {
            case .text(let range): text += bytes[range]
            case .entity(let scalar): text += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            case .start: element.children.append(try self.element())
            case .end:
                guard let text = String(validating: text, as: UTF8.self) else { throw fail("text is not UTF-8") }
                element.text = text.trimmed
                return element
            }
        }
    }

    /// Passes the rest of the element that started last.
    package mutating func skip() throws(XMLError) {
        let depth = open.count
        while open.count >= depth { _ = try next() }
    }

    /// Checks that nothing but blanks, comments and instructions follows the root element.
    package mutating func finish() throws(XMLError) {
        guard open.isEmpty else { throw fail("the root element is not closed") }
        try skipMisc()
        guard position == bytes.count else { throw fail("content after the root element") }
    }

    // MARK: - Tokens

    private enum Token {
        case start
        case text(Range<Int>)
        case entity(Unicode.Scalar)
        case end
    }

    private mutating func next() throws(XMLError) -> Token {
        guard !open.isEmpty else { throw fail("read past the root element") }
        if endPending {
            endPending = false
            open.removeLast()
            return .end
        }
        while true {
            guard let byte = peek() else { throw fail("truncated") }
            if byte == UInt8(ascii: "&") { return .entity(try entity()) }
            if byte != UInt8(ascii: "<") { return .text(try run()) }
            switch position + 1 < bytes.count ? bytes[position + 1] : 0 {
            case UInt8(ascii: "/"):
                try endTag()
                return .end
            case UInt8(ascii: "!") where matches("<![CDATA["):
                let start = position + 9
                let end = try find("]]>", from: start)
                position = end + 3
                return .text(start..<end)
            case UInt8(ascii: "!"), UInt8(ascii: "?"):
                _ = try skipMarkup()
            default:
                try startTag()
                return .start
            }
        }
    }

    /// Text up to the next markup or entity.
    private mutating func run() throws(XMLError) -> Range<Int> {
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "<"), UInt8(ascii: "&"): return start..<position
            case 0..<9, 0x0B, 0x0C, 0x0E..<0x20: throw fail("a control character")
            default: position += 1
            }
        }
        throw fail("truncated")
    }

    private mutating func startTag() throws(XMLError) {
        position += 1
        let whole = try nameToken()
        try skipAttributes()
        guard open.count < Self.depthMax else { throw fail("nested too deeply") }
        open.append(whole)
        let colon = bytes[whole].firstIndex(of: UInt8(ascii: ":"))
        name = (colon.map { $0 + 1 } ?? whole.lowerBound)..<whole.upperBound
        if matches("/>") {
            endPending = true
            position += 2
        } else {
            guard peek() == UInt8(ascii: ">") else { throw fail("a start tag that does not end") }
            position += 1
        }
    }

    private mutating func endTag() throws(XMLError) {
        position += 2
        let closed = try nameToken()
        skipBlanks()
        guard peek() == UInt8(ascii: ">") else { throw fail("an end tag that does not end") }
        guard let started = open.last, bytes[started] == bytes[closed] else {
            throw fail("end tag of another element")
        }
        position += 1
        open.removeLast()
    }

    private mutating func skipAttributes() throws(XMLError) {
        while true {
            let before = position
            skipBlanks()
            guard let byte = peek() else { throw fail("truncated") }
            if byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/") { return }
            guard position > before else { throw fail("no blank before an attribute") }
            _ = try nameToken()
            skipBlanks()
            guard peek() == UInt8(ascii: "=") else { throw fail("an attribute without a value") }
            position += 1
            skipBlanks()
            guard let quote = peek(), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
                throw fail("an attribute value without quotes")
            }
            position += 1
            while let byte = peek(), byte != quote {
                guard byte != UInt8(ascii: "<") else { throw fail("a tag inside an attribute") }
                position += 1
            }
            guard peek() == quote else { throw fail("truncated") }
            position += 1
        }
    }

    private mutating func nameToken() throws(XMLError) -> Range<Int> {
        let start = position
        while let byte = peek(), isNameByte(byte, first: position == start) { position += 1 }
        guard position > start else { throw fail("a name was expected") }
        return start..<position
    }

    private mutating func entity() throws(XMLError) -> Unicode.Scalar {
        let start = position + 1
        // The longest that can be right is `#x10FFFF`.
        guard let end = bytes[start...].prefix(10).firstIndex(of: UInt8(ascii: ";")) else {
            throw fail("an entity that does not end")
        }
        let scalar: Unicode.Scalar
        if matches("quot;", at: start) {
            scalar = "\""
        } else if matches("amp;", at: start) {
            scalar = "&"
        } else if matches("lt;", at: start) {
            scalar = "<"
        } else if matches("gt;", at: start) {
            scalar = ">"
        } else if matches("apos;", at: start) {
            scalar = "'"
        } else {
            let text = String(decoding: bytes[start..<end], as: UTF8.self)
            guard let number = numericEntity(text) else { throw fail("unknown entity &\(text);") }
            scalar = number
        }
        position = end + 1
        return scalar
    }

    private func numericEntity(_ text: String) -> Unicode.Scalar? {
        guard text.hasPrefix("#") else { return nil }
        let isHex = text.hasPrefix("#x")
        let digits = text.dropFirst(isHex ? 2 : 1)
        // The initializer alone would take a sign.
        guard digits.utf8.first.flatMap(Hex.value) != nil,
            let value = UInt32(digits, radix: isHex ? 16 : 10), value != 0
        else { return nil }
        return Unicode.Scalar(value)
    }

    // MARK: - What carries no content

    /// Passes a comment or a processing instruction; false when neither starts here.
    private mutating func skipMarkup() throws(XMLError) -> Bool {
        if matches("<!--") {
            position = try find("-->", from: position + 4) + 3
        } else if matches("<?") {
            position = try find("?>", from: position + 2) + 2
        } else if matches("<!") {
            throw fail("a document type or another declaration")
        } else {
            return false
        }
        return true
    }

    private mutating func skipMisc() throws(XMLError) {
        repeat { skipBlanks() } while try skipMarkup()
    }

    private mutating func skipBlanks() {
        while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
            position += 1
        }
    }

    // MARK: - Bytes

    private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    private func matches(_ token: StaticString) -> Bool { matches(token, at: position) }

    private func matches(_ token: StaticString, at start: Int) -> Bool {
        guard bytes.count - start >= token.utf8CodeUnitCount else { return false }
        return token.withUTF8Buffer { wanted in
            for index in 0..<wanted.count where bytes[start + index] != wanted[index] { return false }
            return true
        }
    }

    private func find(_ token: StaticString, from start: Int) throws(XMLError) -> Int {
        var index = start
        while index < bytes.count {
            if matches(token, at: index) { return index }
            index += 1
        }
        throw fail("truncated")
    }

    private func isNameByte(_ byte: UInt8, first: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"),
            UInt8(ascii: ":"), 0x80...0xFF:
            true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): !first
        default: false
        }
    }

    private func fail(_ reason: String) -> XMLError { XMLError(reason: reason, offset: position) }
}
