/// Writes an XML document, escaping text.
package struct XMLWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(declaration: Bool = true) {
        if declaration { append(#"<?xml version="1.0" encoding="UTF-8"?>"# + "\n") }
    }

    /// An element with children. `namespace` becomes its `xmlns`.
    package mutating func element<E: Error>(
        _ name: StaticString,
        namespace: String? = nil,
        _ content: (inout XMLWriter) throws(E) -> Void
    ) throws(E) {
        append("<\(name)")
        if let namespace {
            append(" xmlns=\"")
            escape(namespace.utf8)
            append("\"")
        }
        append(">")
        try content(&self)
        append("</\(name)>")
    }

    package mutating func element(_ name: StaticString, _ text: String) { element(name, bytes: text.utf8) }

    package mutating func element(_ name: StaticString, _ number: some BinaryInteger) {
        element(name, String(number))
    }

    package mutating func element(_ name: StaticString, _ fact: Bool) {
        element(name, fact ? "true" : "false")
    }

    /// An element whose text is these bytes, which should be UTF-8 or come percent-encoded.
    package mutating func element(_ name: StaticString, bytes text: some Sequence<UInt8>) {
        append("<\(name)>")
        escape(text)
        append("</\(name)>")
    }

    private mutating func append(_ markup: String) { bytes.append(contentsOf: markup.utf8) }

    private mutating func escape(_ text: some Sequence<UInt8>) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "&"): append("&amp;")
            case UInt8(ascii: "<"): append("&lt;")
            case UInt8(ascii: ">"): append("&gt;")
            case UInt8(ascii: "\""): append("&quot;")
            // A bare carriage return would be read back as a line feed, and other controls are not XML text
            // at all.
            case 0..<0x20, 0x7F: append("&#x\(String(byte, radix: 16));")
            default: bytes.append(byte)
            }
        }
    }
}
