/// What signatures are made of: a request as its sender means it or as the server got it.
package struct SignableRequest: Sendable {
    package var method: String
    /// For OSS, whose resource always has the bucket, even when only the host names it; nil for the service
    /// itself.
    package var bucket: String?
    /// The key, raw, for OSS; empty for the bucket itself.
    package var key: [UInt8]
    /// The path as it is on the wire, percent-encoded, for S3.
    package var wirePath: String
    package var query: [QueryItem]
    /// Names in lowercase.
    package var headers: [(name: String, value: String)]

    package init(
        method: String,
        bucket: String?,
        key: [UInt8] = [],
        wirePath: String = "/",
        query: [QueryItem] = [],
        headers: [(name: String, value: String)] = []
    ) {
        self.method = method
        self.bucket = bucket
        self.key = key
        self.wirePath = wirePath
        self.query = query
        self.headers = headers
    }

    /// The header's value, trimmed; repeats are joined with commas. `name` must be lowercase.
    func header(_ name: String) -> String? {
        let values = headers.filter { $0.name == name }.map { trimmed($0.value) }
        return values.isEmpty ? nil : values.joined(separator: ",")
    }

    /// `/`, `/bucket/` or `/bucket/key`, not encoded: what both OSS signatures call the resource.
    var resource: [UInt8] {
        guard let bucket else { return [UInt8(ascii: "/")] }
        return Array("/\(bucket)/".utf8) + key
    }

    /// The query with names and values encoded and sorted, without the named signature parameter.
    ///
    /// - Parameter bareEmpty: writes `name` instead of `name=` for an empty value (OSS).
    func canonicalQuery(excluding signature: String, bareEmpty: Bool) -> String {
        query.filter { $0.name != signature }
            .map { (name: PercentEncoding.encode($0.name), value: PercentEncoding.encode($0.value ?? [])) }
            .sorted { ($0.name, $0.value) < ($1.name, $1.value) }
            .map { bareEmpty && $0.value.isEmpty ? $0.name : "\($0.name)=\($0.value)" }
            .joined(separator: "&")
    }
}

func trimmed(_ text: some StringProtocol) -> String {
    func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
    let start = text.utf8.drop(while: isBlank)
    return String(decoding: start.reversed().drop(while: isBlank).reversed(), as: UTF8.self)
}

/// What a V4 signature holds for: a day, a region and a service.
package struct SignatureScope: Hashable, Sendable {
    /// `yyyymmdd`
    package var day: String
    /// Bare (`cn-hangzhou`, `us-east-1`).
    package var region: String
    /// `oss` or `s3`.
    package var service: String

    package init(day: String, region: String, service: String) {
        self.day = day
        self.region = region
        self.service = service
    }

    /// HMAC of HMAC of HMAC…: both V4 signatures derive their key in this way.
    func signature(prefix: String, terminator: String, secret: String, stringToSign: String) -> String {
        var key = Array((prefix + secret).utf8)
        for part in [day, region, service, terminator] { key = Digest.hmacSHA256(key: key, Array(part.utf8)) }
        return Hex.encode(Digest.hmacSHA256(key: key, Array(stringToSign.utf8)))
    }
}

/// A V4 signature that came with a request, in its `Authorization` header or in its query.
package struct SignatureClaim: Hashable, Sendable {
    package var accessKeyID: String
    package var scope: SignatureScope
    /// S3 `SignedHeaders`, OSS `AdditionalHeaders`; lowercase.
    package var signedHeaders: [String]
    package var signature: String
    /// Of a presigned request: its `yyyymmddThhmmssZ` and its life in seconds.
    package var presigned: Presigned?

    package struct Presigned: Hashable, Sendable {
        package var date: String
        package var lifeSeconds: Int
    }

    /// - Parameters:
    ///   - credential: `{access key}/{day}/{region}/{service}/{terminator}`
    ///   - headers: names joined with `;`
    init?(credential: String, terminator: String, headers: String?, signature: String?, presigned: Presigned?)
    {
        // An access key may hold slashes; the scope may not.
        let parts = credential.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 5, parts.last == terminator, let signature else { return nil }
        let scope = parts.suffix(4)
        accessKeyID = parts.dropLast(4).joined(separator: "/")
        self.scope = SignatureScope(
            day: scope[scope.startIndex],
            region: scope[scope.startIndex + 1],
            service: scope[scope.startIndex + 2]
        )
        signedHeaders = (headers ?? "").split(separator: ";").map { $0.lowercased() }
        self.signature = signature
        self.presigned = presigned
    }

    /// The `name=value` pairs behind `algorithm` in an `Authorization` header: an unordered list, as the
    /// vendors' own SDKs order and space it differently. Nil when the header is of another algorithm.
    static func parameters(of authorization: String, algorithm: String) -> [String: String]? {
        guard authorization.hasPrefix(algorithm + " ") else { return nil }
        var parameters: [String: String] = [:]
        for part in authorization.dropFirst(algorithm.count + 1).split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { return nil }
            parameters[trimmed(pair[0])] = trimmed(pair[1])
        }
        return parameters
    }
}
