/// Where a store answers: scheme, host and port, without a bucket.
package struct Endpoint: Hashable, Sendable {
    package enum Scheme: String, Sendable { case http, https }

    package var scheme: Scheme
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    package var host: String
    /// Nil for the scheme's own port.
    package var port: Int?

    package init(scheme: Scheme, host: String, port: Int? = nil) {
        self.scheme = scheme
        self.host = host
        self.port = port == (scheme == .http ? 80 : 443) ? nil : port
    }

    /// Reads an option such as `http://127.0.0.1:9000` or `oss-cn-hangzhou.aliyuncs.com`; https unless it
    /// says otherwise.
    package init(_ text: String) throws(ConfigurationError) {
        var rest = text[...]
        var scheme = Scheme.https
        if let mark = text.firstRange(of: "://") {
            guard let named = Scheme(rawValue: text[..<mark.lowerBound].lowercased()) else {
                throw .malformedEndpoint(text, "the scheme must be http or https")
            }
            scheme = named
            rest = text[mark.upperBound...]
        }
        if rest.hasSuffix("/") { rest.removeLast() }
        var host = rest
        var port: Int?
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
            guard let number = Int(rest[rest.index(after: colon)...]), (1...65535).contains(number) else {
                throw .malformedEndpoint(text, "the port must be a number from 1 to 65535")
            }
            host = rest[..<colon]
            port = number
        }
        guard !host.isEmpty else { throw .malformedEndpoint(text, "the host is missing") }
        guard Self.isAddress6(host) || host.utf8.allSatisfy(isHostByte) else {
            throw .malformedEndpoint(text, "only a scheme, a host and a port belong here")
        }
        self.init(scheme: scheme, host: host.lowercased(), port: port)
    }

    /// What the `Host` header says.
    package var authority: String { host + (port.map { ":\($0)" } ?? "") }

    /// Whether names cannot be put before this host: an address, or this machine.
    package var isNumericOrLocal: Bool {
        if host == "localhost" || host.hasSuffix(".localhost") || Self.isAddress6(host[...]) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Whether what is sent there in the clear is read by nobody on the way.
    var keepsSecrets: Bool {
        let isLoopback = isNumericOrLocal && (host.hasPrefix("127.") || host.hasSuffix("localhost") || host == "[::1]")
        return scheme == .https || isLoopback
    }

    private static func isAddress6(_ host: Substring) -> Bool {
        host.hasPrefix("[") && host.hasSuffix("]")
            && host.dropFirst().dropLast().utf8.allSatisfy {
                isHexDigit($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".")
            }
    }
}

private func isHexDigit(_ byte: UInt8) -> Bool { Character(Unicode.Scalar(byte)).isHexDigit }

func isHostByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
        true
    default: false
    }
}

/// What is wrong or missing in the options that say where a bucket is.
package enum ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformedEndpoint(String, String)
    case malformedBucket(String)
    case malformedRegion(String)
    case missingEndpoint
    /// IBM COS: neither tells where the bucket is.
    case missingLocation
    /// Signature V4 signs a region, and the endpoint's name does not tell it.
    case missingRegion(endpoint: String)

    package var description: String {
        switch self {
        case .malformedEndpoint(let text, let reason): "endpoint \"\(text)\": \(reason)"
        case .malformedBucket(let name): "\"\(name)\" is not a bucket name"
        case .malformedRegion(let name): "\"\(name)\" is not a region"
        case .missingEndpoint: "Alibaba Cloud needs an endpoint or a region (for instance region=cn-hangzhou)"
        case .missingLocation:
            "an IBM COS bucket needs a region (for instance region=us-south) or an endpoint with its host name"
        case .missingRegion(let endpoint):
            "the region cannot be told from the endpoint \(endpoint): set region, or signature=v1"
        }
    }
}
