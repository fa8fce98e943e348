import ThawCore
import Wire

extension Exchange {
    private var region: String {
        if let region = service.configuration.region { return region }
        return switch request.dialect {
        case .oss, .oas: "cn-hangzhou"
        case .s3: "us-east-1"
        case .cos: "us-south"
        }
    }

    /// A token says who asks, and not for which of his instances.
    private func requireInstance() throws(ProviderError) {
        guard request.dialect == .cos, request.header("authorization")?.hasPrefix("Bearer ") ?? false,
            request.header("ibm-service-instance-id") == nil
        else { return }
        throw .invalidArgument("ibm-service-instance-id is missing.")
    }

    func listBuckets() throws(ProviderError) -> Reply {
        try requireInstance()
        let prefix = request.parameter("prefix") ?? ""
        let isExtended = request.dialect == .cos && request.has("extended")
        let max = try request.number("max-keys", 1...1000, default: 1000)
        let marker = isExtended ? request.parameter("marker") ?? "" : ""
        let all = try service.catalog.perform { tables throws(ProviderError) in try tables.buckets() }
        let found = all.filter { $0.name.hasPrefix(prefix) && (marker.isEmpty || $0.name > marker) }
        let buckets = isExtended ? Array(found.prefix(max)) : found
        var xml = XMLWriter()
        xml.element("ListAllMyBucketsResult", namespace: namespace) { xml in
            writeOwner(&xml)
            if isExtended {
                xml.element("IsTruncated", buckets.count < found.count)
                xml.element("MaxKeys", max)
                xml.element("Prefix", prefix)
                xml.element("Marker", marker)
                if buckets.count < found.count { xml.element("NextMarker", buckets.last?.name ?? "") }
            }
            xml.element("Buckets") { xml in
                for bucket in buckets {
                    xml.element("Bucket") { xml in
                        if request.dialect == .oss { writeEndpoints(&xml, bucket) }
                        xml.element("Name", bucket.name)
                        xml.element("CreationDate", wholeSeconds(bucket.created))
                        if isExtended { xml.element("LocationConstraint", bucket.location ?? region + "-standard") }
                    }
                }
            }
        }
        return .xml(xml)
    }

    func createBucket(_ body: [UInt8]) throws(ProviderError) -> Reply {
        guard let name = request.bucketName, (3...63).contains(name.utf8.count),
            name.utf8.allSatisfy({ "abcdefghijklmnopqrstuvwxyz0123456789-.".utf8.contains($0) })
        else { throw ProviderError(400, "InvalidBucketName", "The specified bucket is not valid.") }
        try requireInstance()
        let wish = body.isEmpty ? nil : try readDocument(body) { xml throws(XMLError) in try xml.element() }
        let storageClass = wish?["StorageClass"]?.text ?? "Standard"
        let location = wish?["LocationConstraint"]?.text
        // Any other value is passed over, which makes a bucket without.
        let locks = request.header("x-amz-bucket-object-lock-enabled")?.lowercased() == "true"
        let rootKey = try encryptionKey()
        if request.dialect == .cos, let location, BucketLocation(location) == nil {
            throw ProviderError(400, "InvalidLocationConstraint", "The specified location constraint is not valid.")
        }
        let created = try service.catalog.perform { tables throws(ProviderError) in
            try tables.createBucket(
                name, storageClass: storageClass, created: .now(), location: location, rootKey: rootKey,
                locksObjects: locks && BucketConfiguration.Kind.objectLock.offer(in: request.dialect) != nil)
        }
        if !created, request.dialect == .cos {
            throw ProviderError(409, "BucketAlreadyExists", "The requested bucket name is not available.")
        }
        guard created || request.dialect == .oss else {
            throw ProviderError(
                409,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it."
            )
        }
        return Reply(200, headers: [("Location", "/\(name)")])
    }

    /// The CRN of Key Protect's key, if the bucket is to be encrypted with one.
    private func encryptionKey() throws(ProviderError) -> String? {
        let algorithm = request.header("ibm-sse-kp-encryption-algorithm")
        let key = request.header("ibm-sse-kp-customer-root-key-crn")
        guard request.dialect == .cos, algorithm != nil || key != nil else { return nil }
        guard algorithm == "AES256", let key, key.hasPrefix("crn:") else {
            throw .invalidArgument("Key Protect needs the algorithm AES256 and the CRN of a root key.")
        }
        return key
    }

    func deleteBucket() throws(ProviderError) -> Reply {
        try withBucket { tables, bucket throws(ProviderError) in try tables.deleteBucket(bucket) }
        return Reply(204)
    }

    func headBucket() throws(ProviderError) -> Reply {
        let bucket = try withBucket { _, bucket in bucket }
        var headers: [(name: String, value: String)] = []
        if request.dialect == .s3 { headers.append(("x-amz-bucket-region", region)) }
        if request.dialect == .cos, let rootKey = bucket.rootKey {
            // IBM's page prints True, which its own SDK takes for false.
            headers += [("ibm-sse-kp-enabled", "true"), ("ibm-sse-kp-crk-id", rootKey)]
        }
        return Reply(200, headers: headers)
    }

    func bucketInfo() throws(ProviderError) -> Reply {
        let bucket = try withBucket { _, bucket in bucket }
        var xml = XMLWriter()
        xml.element("BucketInfo") { xml in
            xml.element("Bucket") { xml in
                xml.element("CreationDate", wholeSeconds(bucket.created))
                writeEndpoints(&xml, bucket)
                xml.element("DataRedundancyType", "LRS")
                if bucket.versioning != .never { xml.element("Versioning", bucket.versioning.rawValue) }
                xml.element("Name", bucket.name)
                writeOwner(&xml)
                xml.element("AccessControlList") { xml in xml.element("Grant", "private") }
            }
        }
        return .xml(xml)
    }

    func bucketLocation() throws(ProviderError) -> Reply {
        let bucket = try withBucket { _, bucket in bucket }
        var xml = XMLWriter()
        let location =
            switch request.dialect {
            case .oss, .oas: "oss-" + region
            // The one region that has no name here.
            case .s3: bucket.location ?? (region == "us-east-1" ? "" : region)
            case .cos: bucket.location ?? region + "-standard"
            }
        xml.element("LocationConstraint", location)
        return .xml(xml)
    }

    func bucketVersioning() throws(ProviderError) -> Reply {
        let bucket = try withBucket { _, bucket in bucket }
        var xml = XMLWriter()
        xml.element("VersioningConfiguration", namespace: namespace) { xml in
            if bucket.versioning != .never { xml.element("Status", bucket.versioning.rawValue) }
        }
        return .xml(xml)
    }

    func setBucketVersioning(_ body: [UInt8]) throws(ProviderError) -> Reply {
        let word = try setting("Status", in: body)
        guard let versioning = Bucket.Versioning(rawValue: word), versioning != .never else {
            throw .malformedXML
        }
        try withBucket { tables, bucket throws(ProviderError) in
            var bucket = bucket
            bucket.versioning = versioning
            try tables.updateBucket(bucket)
        }
        return Reply(200)
    }

    func archiveDirectRead() throws(ProviderError) -> Reply {
        let bucket = try withBucket { _, bucket in bucket }
        var xml = XMLWriter()
        xml.element("ArchiveDirectReadConfiguration") { xml in
            xml.element("Enabled", bucket.archiveDirectRead)
        }
        return .xml(xml)
    }

    func setArchiveDirectRead(_ body: [UInt8]) throws(ProviderError) -> Reply {
        let word = try setting("Enabled", in: body)
        guard word == "true" || word == "false" else { throw .malformedXML }
        try withBucket { tables, bucket throws(ProviderError) in
            var bucket = bucket
            bucket.archiveDirectRead = word == "true"
            try tables.updateBucket(bucket)
        }
        return Reply(200)
    }

    /// The text of the root's one child that matters; empty when there is none.
    private func setting(_ name: StaticString, in body: [UInt8]) throws(ProviderError) -> String {
        try readDocument(body) { xml throws(XMLError) in
            var word = ""
            while try xml.nextChild() {
                if xml.isNamed(name) { word = try xml.string() } else { try xml.skip() }
            }
            return word
        }
    }

    private func writeEndpoints(_ xml: inout XMLWriter, _ bucket: Bucket) {
        xml.element("ExtranetEndpoint", request.host)
        xml.element("IntranetEndpoint", request.host)
        xml.element("Location", "oss-" + region)
        xml.element("Region", region)
        xml.element("StorageClass", bucket.storageClass)
    }

    func writeOwner(_ xml: inout XMLWriter, as name: StaticString = "Owner") {
        xml.element(name) { xml in
            xml.element("ID", "1000000000000001")
            xml.element("DisplayName", "thawfs")
        }
    }
}
