import ThawCore
package import Wire

/// Where one bucket is, or an account, and how requests to it are addressed and signed.
package struct StoreConfiguration: Hashable, Sendable {
    package enum Addressing: Sendable { case virtualHost, path }
    package enum Signature: String, Sendable, CaseIterable { case v4, v1 }
    /// Where IBM COS's endpoints of one location are reached from: the service's own network, or a VPC.
    private enum Network: String { case `private`, direct }

    package var dialect: Dialect
    /// Empty for the account itself, which has buckets.
    package var bucket: String
    package var endpoint: Endpoint
    /// Bare (`cn-hangzhou`, `us-east-1`, `us-south`); empty where nothing signs it (OSS with signature V1, OAS), and
    /// for IBM COS at an endpoint whose name does not tell it.
    package var region: String
    /// IBM COS: whose buckets are listed, and who owns those that are created. Nil where the credentials tell it, or
    /// imply it.
    package var serviceInstanceID: String?
    package var addressing: Addressing
    private var isAddressingDerived: Bool
    /// OSS only; S3 is always V4.
    package var signature: Signature
    /// The endpoint follows from the region, so it moves when the region turns out to be another.
    package var isEndpointDerived: Bool

    /// Fills in what is not given.
    ///
    /// The endpoint comes from the region, the region from the endpoint's name or from `AWS_REGION`,
    /// `AWS_DEFAULT_REGION` or `OSS_REGION`; S3 without any of them starts at `us-east-1`, from where a bucket
    /// elsewhere is found. Addresses and localhost are addressed by path, as are S3 buckets with a dot over https,
    /// whose names no wildcard certificate covers. Without a bucket it is the account's. IBM COS needs a region or an
    /// endpoint; `private` and `direct` are short for those endpoints of the region.
    package init(
        dialect: Dialect,
        bucket: String?,
        endpoint: String? = nil,
        region: String? = nil,
        addressing: Addressing? = nil,
        signature: Signature = .v4,
        serviceInstanceID: String? = nil,
        environment: [String: String] = [:]
    ) throws(ConfigurationError) {
        if let bucket, !Self.isBucketName(bucket) { throw .malformedBucket(bucket) }
        let network = dialect == .cos ? endpoint.flatMap { Network(rawValue: $0) } : nil
        let given = try (network == nil ? endpoint : nil).map { text throws(ConfigurationError) in try Endpoint(text) }
        let told =
            region ?? given.flatMap { Self.region(of: $0.host, dialect) }
            ?? Self.region(in: environment, dialect)
        if let told, told.isEmpty || !told.utf8.allSatisfy(isHostByte) { throw .malformedRegion(told) }

        self.dialect = dialect
        self.bucket = bucket ?? ""
        self.signature = dialect == .oss ? signature : .v4
        isEndpointDerived = given == nil
        let instance = serviceInstanceID ?? environment["IBM_SERVICE_INSTANCE_ID"]
        self.serviceInstanceID = dialect == .cos ? instance.flatMap { $0.isEmpty ? nil : $0 } : nil
        switch dialect {
        case .s3:
            self.region = told ?? "us-east-1"
            self.endpoint = given ?? Self.endpoint(region: self.region, .s3)
        case .oss:
            guard let endpoint = given ?? told.map({ Self.endpoint(region: $0, .oss) }) else {
                throw .missingEndpoint
            }
            if told == nil && signature == .v4 { throw .missingRegion(endpoint: endpoint.authority) }
            self.endpoint = endpoint
            self.region = told.map(Self.bareRegion) ?? ""
        case .oas:
            guard let endpoint = given ?? told.map({ Self.endpoint(region: $0, .oas) }) else {
                throw .missingEndpoint
            }
            self.endpoint = endpoint
            self.region = told.map(Self.bareRegion) ?? ""
        case .cos:
            let location = told.map(Self.location)
            guard let endpoint = given ?? location.map({ Self.cosEndpoint($0, network) }) else {
                throw .missingLocation
            }
            self.endpoint = endpoint
            self.region = location ?? ""
        }
        isAddressingDerived = addressing == nil
        self.addressing = addressing ?? .virtualHost
        if isAddressingDerived { deriveAddressing() }
    }

    private mutating func deriveAddressing() {
        let isUncovered = dialect.speaksS3 && bucket.contains(".") && endpoint.scheme == .https
        addressing = endpoint.isNumericOrLocal || isUncovered ? .path : .virtualHost
    }

    private static func isBucketName(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && name.utf8.allSatisfy(isHostByte) && name != "." && name != ".."
    }

    /// Whether buckets elsewhere are asked elsewhere: not at an endpoint of the user's own.
    var followsRegions: Bool {
        isEndpointDerived || endpoint.host.hasSuffix(".aliyuncs.com") || endpoint.host.hasSuffix(Self.cosDomain)
    }

    /// What a V4 signature names. IBM COS takes any word, and documents this one.
    var signedRegion: String { dialect == .cos ? "us-standard" : region }

    /// Of one of the account's buckets.
    ///
    /// - Parameter region: where the bucket is, bare; nil when that is not known
    package func of(_ bucket: String, region: String?) throws(StoreError) -> StoreConfiguration {
        guard Self.isBucketName(bucket) else {
            throw StoreError(.noSuchBucket, code: "InvalidBucketName", message: "\(bucket.printable) is no bucket's name")
        }
        var configuration = self
        configuration.bucket = bucket
        if let region, region != self.region, followsRegions, region.utf8.allSatisfy(isHostByte), !region.isEmpty {
            configuration.region = region
            let label = endpoint.host.split(separator: ".").dropFirst().first
            let network = label.flatMap { Network(rawValue: String($0)) }
            configuration.endpoint =
                dialect == .cos ? Self.cosEndpoint(region, network) : Self.endpoint(region: region, dialect)
        }
        if isAddressingDerived { configuration.deriveAddressing() }
        return configuration
    }

    /// IBM COS has backup policies at a host of their own, on the same network as the endpoint; other endpoints
    /// have them themselves.
    var ofPolicies: StoreConfiguration {
        var configuration = self
        configuration.bucket = ""
        let labels = endpoint.host.split(separator: ".")
        if endpoint.host.hasSuffix(Self.cosDomain) {
            let network = ["private", "direct"].first { labels.contains(Substring($0)) }.map { ".\($0)" } ?? ""
            configuration.endpoint = Endpoint(
                scheme: .https, host: "config\(network).cloud-object-storage.cloud.ibm.com")
        }
        return configuration
    }

    /// The provider's public endpoint of a region.
    package static func endpoint(region: String, _ dialect: Dialect) -> Endpoint {
        switch dialect {
        case .oss: Endpoint(scheme: .https, host: "oss-\(bareRegion(region)).aliyuncs.com")
        case .oas: Endpoint(scheme: .https, host: "\(bareRegion(region)).oas.aliyuncs.com")
        case .s3:
            Endpoint(
                scheme: .https,
                host: "s3.\(region).amazonaws.com" + (region.hasPrefix("cn-") ? ".cn" : "")
            )
        case .cos: cosEndpoint(region, nil)
        }
    }

    private static let cosDomain = ".cloud-object-storage.appdomain.cloud"

    /// IBM Cloud docs, "Endpoints and storage locations".
    private static func cosEndpoint(_ location: String, _ network: Network?) -> Endpoint {
        let prefix = network.map { "s3.\($0.rawValue)." } ?? "s3."
        return Endpoint(scheme: .https, host: prefix + location + cosDomain)
    }

    /// `us-south-standard`, a place and a class of buckets as IBM names them together, is in `us-south`.
    static func location(_ constraint: String) -> String { BucketLocation(constraint)?.place ?? constraint }

    /// `oss-cn-hangzhou-internal` is `cn-hangzhou`: OSS names places so, and signs the bare name.
    static func bareRegion(_ name: String) -> String {
        var name = name[...]
        if name.hasPrefix("oss-") { name = name.dropFirst(4) }
        if name.hasSuffix("-internal") { name = name.dropLast(9) }
        return String(name)
    }

    private static func region(of host: String, _ dialect: Dialect) -> String? {
        let labels = host.split(separator: ".").map(String.init)
        switch dialect {
        case .oss:
            guard labels.count >= 3, host.hasSuffix(".aliyuncs.com") else { return nil }
            // `{region}.oss.aliyuncs.com` answers on IPv4 and IPv6.
            if labels.count == 4 && labels[1] == "oss" { return labels[0] }
            guard labels[0].hasPrefix("oss-"), !labels[0].hasPrefix("oss-accelerate") else { return nil }
            return bareRegion(labels[0])
        case .oas:
            guard labels.count == 4, host.hasSuffix(".aliyuncs.com"), labels[1].hasPrefix("oas") else { return nil }
            return labels[0]
        case .s3:
            guard let amazon = labels.firstIndex(of: "amazonaws"), amazon >= 2, labels[0] == "s3" else {
                return nil
            }
            return labels[amazon - 1]
        case .cos:
            guard host.hasSuffix(cosDomain), labels.count >= 5, labels[0] == "s3" else { return nil }
            return labels[labels.count - 4]
        }
    }

    private static func region(in environment: [String: String], _ dialect: Dialect) -> String? {
        let names =
            switch dialect {
            case .oss, .oas: ["OSS_REGION"]
            case .s3: ["AWS_REGION", "AWS_DEFAULT_REGION"]
            // AWS's would name no place of IBM's.
            case .cos: [String]()
            }
        return names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
}
