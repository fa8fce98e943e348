/// Builds a reply's head from header lines as they arrive.
///
/// An exchange can carry several heads and one trailer: interim replies (1xx) come before the final head and are
/// dropped, and what follows the final head is a trailer and ignored. RFC 9110 sections 6.5 and 15.2.
struct ReplyHead {
    /// More than this is no reply of an object store, and would only fill memory.
    static let sizeBytesMax = 256 << 10

    /// The final head, once its empty line has come.
    private(set) var final: HTTPResponseHead?
    private var current: HTTPResponseHead?
    private var sizeBytes = 0

    /// Takes one line with its line break.
    mutating func take(_ line: UnsafeRawBufferPointer) throws(HTTPError) {
        guard final == nil else { return }
        sizeBytes += line.count
        guard sizeBytes <= Self.sizeBytesMax else {
            throw .broken("over \(Self.sizeBytesMax) bytes of headers")
        }

        let text = trimmed(line[...])
        if line.starts(with: "HTTP/".utf8) {
            current = HTTPResponseHead(status: try status(text), headers: [])
        } else if text.isEmpty {
            if let current, current.status >= 200 { final = current }
            current = nil
        } else if let first = line.first, isSpace(first) {
            try continueLast(text)
        } else {
            try add(text)
        }
    }

    private func status(_ line: Slice<UnsafeRawBufferPointer>) throws(HTTPError) -> Int {
        // HTTP/1.1 200 OK
        let digits = line.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix(3)
        guard let status = Int(String(decoding: digits, as: UTF8.self)), (100...999).contains(status) else {
            throw .broken("not a status line: \(String(decoding: line.prefix(80), as: UTF8.self))")
        }
        return status
    }

    private mutating func add(_ line: Slice<UnsafeRawBufferPointer>) throws(HTTPError) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            throw .broken("not a header: \(String(decoding: line.prefix(80), as: UTF8.self))")
        }
        let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
        let value = String(decoding: trimmed(line[(colon + 1)...]), as: UTF8.self)
        current?.headers.append((name, value))
    }

    /// A line that begins with a space goes on with the value before it (obsolete folding, RFC 9112 section 5.2).
    private mutating func continueLast(_ line: Slice<UnsafeRawBufferPointer>) throws(HTTPError) {
        guard let last = current?.headers.indices.last else {
            throw .broken("a folded line without a header")
        }
        current?.headers[last].value += " " + String(decoding: line, as: UTF8.self)
    }

    private func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        guard let first = bytes.firstIndex(where: { !isSpace($0) }),
            let last = bytes.lastIndex(where: { !isSpace($0) })
        else { return bytes.prefix(0) }
        return bytes[first...last]
    }

    private func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (UInt8(ascii: "\t")...UInt8(ascii: "\r")).contains(byte)
    }
}
