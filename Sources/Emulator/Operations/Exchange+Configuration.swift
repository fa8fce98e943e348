import ThawCore
import Wire

/// Configurations of a bucket that are kept as they were put, and mean nothing to objects.
extension Exchange {
    func getConfiguration() throws(ProviderError) -> Reply {
        let (kind, offer, id) = try addressed()
        let found = try withBucket(named: try configuredBucket()) { tables, bucket throws(ProviderError) in
            if let id {
                return try tables.configuration(bucket, kind.rawValue, id: id).map { [(id: id, body: $0)] } ?? []
            }
            if kind == .objectLock, !bucket.locksObjects { return [] }
            let known = try tables.configurations(bucket, kind.rawValue)
            return known.isEmpty ? Self.unset(kind).map { [(id: "", body: Array($0.utf8))] } ?? [] : known
        }
        if kind == .backupPolicies {
            guard let id else { return .json(.array(found.compactMap { JSON($0.body) })) }
            guard let policy = found.first.flatMap({ JSON($0.body) }) else { throw Self.missing(offer, id) }
            return .json(policy)
        }
        if kind.hasIDs, id == nil { return try list(found) }
        guard let body = found.first?.body else { throw Self.missing(offer, id) }
        return Reply(200, headers: [("Content-Type", "application/xml")], body: .bytes(body))
    }

    func putConfiguration(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        let (kind, offer, id) = try addressed()
        if offer.requiresDigest, request.header("content-md5") == nil, body.checksums.isEmpty {
            throw ProviderError(
                400, "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
        }
        try check(body.bytes, kind, id)
        if kind == .backupPolicies { return try addPolicy(body.bytes, offer) }
        try withBucket { tables, bucket throws(ProviderError) in
            if kind == .protection, try tables.hasVersions(bucket) {
                throw ProviderError(409, "InvalidBucketState", "A retention policy is for a bucket without objects.")
            }
            if kind == .objectLock, !bucket.locksObjects {
                throw ProviderError(
                    409, "InvalidBucketState", "Object Lock configuration cannot be enabled on existing buckets")
            }
            try tables.setConfiguration(bucket, kind.rawValue, id: id ?? "", body.bytes)
        }
        return Reply(offer.putStatus)
    }

    func deleteConfiguration() throws(ProviderError) -> Reply {
        let (kind, offer, id) = try addressed()
        let isDeleted = try withBucket(named: try configuredBucket()) { tables, bucket throws(ProviderError) in
            try tables.deleteConfiguration(bucket, kind.rawValue, id: id ?? "")
        }
        guard isDeleted || !kind.hasIDs else { throw Self.missing(offer, id) }
        return Reply(204)
    }

    // MARK: - Parts of it

    private func check(_ body: [UInt8], _ kind: BucketConfiguration.Kind, _ id: String?) throws(ProviderError) {
        let told: String?
        do throws(ConfigurationProblem) {
            try BucketConfiguration.check(body, is: kind, in: request.dialect)
            told = kind == .inventory ? try BucketConfiguration.inventoryID(body) : id
        } catch {
            throw ProviderError(400, "MalformedXML", "The configuration is not valid: \(error)")
        }
        guard told == id else { throw .invalidArgument("The Id of the document is not that of the request.") }
    }

    private func addressed() throws(ProviderError) -> (BucketConfiguration.Kind, BucketConfiguration.Offer, String?) {
        guard let (kind, offer) = request.configuration else { throw .notImplemented(request.method) }
        if kind == .backupPolicies { return (kind, offer, request.policyPath?.id) }
        let id = offer.idParameter.flatMap { request.parameter($0) }
        guard id != nil || !kind.hasIDs || operation == .getConfiguration else {
            throw .invalidArgument("\(offer.idParameter ?? "id") is missing")
        }
        return (kind, offer, id)
    }

    private func configuredBucket() throws(ProviderError) -> String {
        guard let name = request.policyPath?.bucket ?? request.bucketName else { throw .noSuchBucket }
        return name
    }

    /// What a bucket answers that nobody configured; nil where that is an error.
    private static func unset(_ kind: BucketConfiguration.Kind) -> String? {
        switch kind {
        case .protection: "<ProtectionConfiguration><Status>Disabled</Status></ProtectionConfiguration>"
        case .objectLock:
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
        default: nil
        }
    }

    private static func missing(_ offer: BucketConfiguration.Offer, _ id: String?) -> ProviderError {
        ProviderError(
            404, offer.missingCode, "The specified configuration does not exist.",
            details: id.map { [(name: "Id" as StaticString, value: $0)] } ?? [])
    }

    /// As many as S3 lists at once.
    private static let listedMax = 100

    private func list(_ all: [(id: String, body: [UInt8])]) throws(ProviderError) -> Reply {
        let rest = all.filter { $0.id > request.parameter("continuation-token") ?? "" }
        let page = rest.prefix(Self.listedMax)
        let xmlns = namespace.map { " xmlns=\"\($0)\"" } ?? ""
        var body = Array("<ListInventoryConfigurationsResult\(xmlns)>".utf8)
        for (_, document) in page { body += document.withoutDeclaration }
        body += Array("<IsTruncated>\(rest.count > page.count)</IsTruncated>".utf8)
        if rest.count > page.count, let last = page.last {
            body += Array("<NextContinuationToken>\(last.id)</NextContinuationToken>".utf8)
        }
        body += Array("</ListInventoryConfigurationsResult>".utf8)
        return Reply(200, headers: [("Content-Type", "application/xml")], body: .bytes(body))
    }

    private func addPolicy(_ body: [UInt8], _ offer: BucketConfiguration.Offer) throws(ProviderError) -> Reply {
        guard case .object(let members) = JSON(body) else { throw .malformedXML }
        let policy = try withBucket(named: try configuredBucket()) { tables, bucket throws(ProviderError) in
            let number = String(try tables.nextSequence(), radix: 16)
            let id = "44d3dd41-d616-4d25-911a-" + String(repeating: "0", count: max(12 - number.count, 0)) + number
            var policy = members
            policy["policy_id"] = .string(id)
            policy["policy_status"] = "active"
            let kind = BucketConfiguration.Kind.backupPolicies
            try tables.setConfiguration(bucket, kind.rawValue, id: id, Array(JSON.object(policy).text.utf8))
            policy["policy_status"] = "pending"
            return policy
        }
        return .json(.object(policy), status: offer.putStatus)
    }
}

extension StoreRequest {
    /// The configuration that is addressed, unless an operation of its own serves it.
    var configuration: (kind: BucketConfiguration.Kind, offer: BucketConfiguration.Offer)? {
        let policies = BucketConfiguration.Kind.backupPolicies
        if policyPath != nil { return policies.offer(in: dialect).map { (policies, $0) } }
        guard bucketName != nil, key.isEmpty else { return nil }
        let kinds: [BucketConfiguration.Kind] = [
            .lifecycle, .cors, .objectLock, .protection, .website, .publicAccessBlock, .inventory,
        ]
        for kind in kinds {
            if let offer = kind.offer(in: dialect), has(offer.subresource) { return (kind, offer) }
        }
        return nil
    }

    /// `/buckets/BUCKET/backup_policies[/ID]`, which is at a host of its own at IBM: a bucket called `buckets` cannot
    /// have such a key here.
    var policyPath: (bucket: String, id: String?)? {
        guard bucketName == "buckets", BucketConfiguration.Kind.backupPolicies.offer(in: dialect) != nil else {
            return nil
        }
        let parts = key.description.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count), parts[1] == "backup_policies" else { return nil }
        return (parts[0], parts.count == 3 ? parts[2] : nil)
    }
}

extension [UInt8] {
    /// The document without `<?xml …?>`, to stand in another.
    fileprivate var withoutDeclaration: ArraySlice<UInt8> {
        let text = drop { $0 == 0xEF || $0 == 0xBB || $0 == 0xBF || $0 == 0x20 || $0 == 0x0A || $0 == 0x0D }
        guard text.starts(with: "<?xml".utf8), let end = text.firstRange(of: "?>".utf8) else { return text }
        return text[end.upperBound...]
    }
}
