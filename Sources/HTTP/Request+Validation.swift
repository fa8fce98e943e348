internal import ThawCore

extension HTTPRequest {
    /// Refuses what cannot be sent exactly as it stands.
    func validate() throws(HTTPError) {
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !host.isEmpty else {
            throw .malformedRequest("not an http or https URL: \(url)")
        }
        // A fragment would be cut off; any other byte than these would be encoded or refused on the way.
        guard url.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }) else {
            throw .malformedRequest("not percent-encoded: \(url)")
        }
        for header in headers {
            guard !header.name.isEmpty, header.name.utf8.allSatisfy({ isTokenByte($0) }) else {
                throw .malformedRequest("not a header name: \(header.name)")
            }
            guard header.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == UInt8(ascii: "\t") })
            else {
                throw .malformedRequest("a control character in the header \(header.name)")
            }
        }
        guard body.sizeBytes == 0 || (method != .get && method != .head) else {
            throw .malformedRequest("a \(method.rawValue) request with a body")
        }
    }

    /// Whether the URL names this machine by a loopback address or as `localhost`.
    var isToLoopback: Bool {
        let host = host.lowercased()
        return host == "localhost" || host.hasSuffix(".localhost") || host == "[::1]"
            || (host.hasPrefix("127.") && host.utf8.allSatisfy { isDigitOrDot($0) })
    }

    /// The URL's host, an IPv6 address with its brackets; empty when there is none.
    private var host: Substring {
        guard let slashes = url.firstRange(of: "//") else { return "" }
        let authority = url[slashes.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if authority.hasPrefix("[") {
            return authority.firstIndex(of: "]").map { authority[...$0] } ?? ""
        }
        return authority.prefix { $0 != ":" }
    }

    /// RFC 9110 section 5.6.2.
    private func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private func isDigitOrDot(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
