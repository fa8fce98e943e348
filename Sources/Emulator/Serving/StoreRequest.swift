import NIOHTTP1
import ThawCore
import Wire

/// A request for the store, taken apart: which dialect, which bucket and key, with what parameters.
struct StoreRequest: Sendable {
    let id: String
    let method: String
    /// The path as it was sent, percent-encoded.
    let wirePath: String
    let query: [QueryItem]
    /// Names in lowercase.
    let headers: [(name: String, value: String)]
    let host: String
    let dialect: Dialect
    /// Nil for the service itself. Of OAS, the vault's id, or its name when it is created.
    let bucketName: String?
    /// Empty for the bucket itself. Of OAS, the rest of the path.
    let key: ObjectKey

    /// - Parameter domain: the host name whose subdomains are buckets
    init(_ head: HTTPRequestHead, id: String, domain: String) throws(ProviderError) {
        self.id = id
        method = head.method.rawValue
        let target = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        wirePath = target.first.map(String.init) ?? "/"
        // Form encoding: oss2 sends a blank as a plus, and a plus as %2B.
        let encoded =
            target.count > 1 ? target[1].split(separator: "+", omittingEmptySubsequences: false) : []
        guard let query = [QueryItem](wire: encoded.joined(separator: "%20")),
            let path = PercentEncoding.decode(wirePath), path.first == UInt8(ascii: "/")
        else { throw ProviderError(400, "InvalidURI", "Couldn't parse the specified URI.") }
        self.query = query
        headers = head.headers.map { ($0.name.lowercased(), $0.value) }
        host = headers.first { $0.name == "host" }?.value ?? ""
        dialect = Self.dialect(headers, query)
        if dialect == .oas {
            // `/vaults`, `/vaults/{vault}`, `/vaults/{vault}/archives/{archive}/meta`
            let parts = path.dropFirst().split(separator: UInt8(ascii: "/"), maxSplits: 2)
            bucketName = parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : nil
            key = ObjectKey(parts.count > 2 ? Array(parts[2]) : [])
        } else if let bucket = Self.virtualHost(host, domain: domain) {
            bucketName = bucket
            key = ObjectKey(path.dropFirst())
        } else {
            let name = path.dropFirst().prefix { $0 != UInt8(ascii: "/") }
            bucketName = name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
            key = ObjectKey(path.dropFirst(name.count + 2))
        }
    }

    /// The header's first value, trimmed of nothing; nil when absent. `name` must be lowercase.
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The header of the dialect: `x-oss-` or `x-amz-` and the name.
    func vendorHeader(_ name: String) -> String? { header(vendorPrefix + name) }

    var vendorPrefix: String {
        switch dialect {
        case .oss: "x-oss-"
        case .s3, .cos: "x-amz-"
        case .oas: "x-oas-"
        }
    }

    func has(_ parameter: String) -> Bool { query[parameter] != nil }

    /// The parameter's value; nil when it is absent or empty, which clients mean alike.
    func parameter(_ name: String) -> String? {
        let text = query[name]?.text ?? ""
        return text.isEmpty ? nil : text
    }

    func bytes(_ name: String) -> [UInt8]? {
        let value = query[name]?.value ?? []
        return value.isEmpty ? nil : value
    }

    func number(_ name: String, _ range: ClosedRange<Int>, default fallback: Int) throws(ProviderError) -> Int
    {
        guard let text = parameter(name) else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            throw .invalidArgument(
                "Argument \(name) must be an integer between \(range.lowerBound) and \(range.upperBound)"
            )
        }
        return number
    }

    var versionID: String? { parameter("versionId") }

    /// Of a request to an RPC product (Cloud Backup): what it is to do.
    var action: String? { bucketName == nil ? header("x-acs-action") ?? parameter("Action") : nil }

    var signable: SignableRequest {
        SignableRequest(
            method: method,
            bucket: bucketName,
            key: key.bytes,
            wirePath: wirePath,
            query: query,
            headers: headers
        )
    }

    private static func dialect(_ headers: [(name: String, value: String)], _ query: [QueryItem]) -> Dialect {
        if let authorization = headers.first(where: { $0.name == "authorization" })?.value {
            if authorization.hasPrefix("OAS ") { return .oas }
            if authorization.hasPrefix("OSS") { return .oss }
            let isToken = authorization.hasPrefix("Bearer ") || authorization.hasPrefix("Basic ")
            let claim = S3SignatureV4.claim(authorization: authorization)
            return isToken || claim.map(isOfIBM) ?? false ? .cos : .s3
        }
        if headers.contains(where: { $0.name.hasPrefix("x-oas-") }) { return .oas }
        if let claim = S3SignatureV4.claim(query: query), isOfIBM(claim) { return .cos }
        let isOSS =
            query["OSSAccessKeyId"] != nil || query.contains { $0.name.hasPrefix("x-oss-") }
            || headers.contains { $0.name.hasPrefix("x-oss-") }
        return isOSS ? .oss : .s3
    }

    /// IBM COS takes any word for a region; those that sign for it name its places, or `us-standard`. No place of AWS
    /// is called so. (IBM Cloud docs, "Endpoints and storage locations".)
    private static let placesOfIBM: Set<String> = [
        "us-standard", "us-south", "us-east", "eu-gb", "eu-de", "eu-es", "au-syd", "jp-tok", "jp-osa", "ca-tor", "ca-mon",
        "br-sao", "in-che", "in-mum", "us", "eu", "ap", "ams03", "che01", "mon01", "par01", "sjc04", "sng01",
    ]

    private static func isOfIBM(_ claim: SignatureClaim) -> Bool { placesOfIBM.contains(claim.scope.region) }

    /// The bucket that the host names; nil for path style (an address, the domain itself, any other host).
    private static func virtualHost(_ host: String, domain: String) -> String? {
        let name = host.hasPrefix("[") ? Substring(host) : host.prefix { $0 != ":" }
        for base in [domain, "localhost"] where name.hasSuffix("." + base) {
            return String(name.dropLast(base.count + 1))
        }
        return nil
    }
}
