import ThawCore
import Wire

/// S3: retention and legal holds of versions (S3 API Reference, `PutObjectRetention`, `PutObjectLegalHold`).
extension Exchange {
    /// Whether the request may delete what is kept in the mode of governance, and shorten that.
    var bypassesGovernance: Bool { request.header("x-amz-bypass-governance-retention")?.lowercased() == "true" }

    func objectRetention() throws(ProviderError) -> Reply {
        guard let term = try lockedVersion().lock?.term else { throw .noObjectLock }
        var xml = XMLWriter()
        xml.element("Retention", namespace: namespace) { xml in
            xml.element("Mode", term.mode.rawValue)
            xml.element("RetainUntilDate", WireDate.iso8601(term.until))
        }
        return .xml(xml)
    }

    func setObjectRetention(_ body: [UInt8]) throws(ProviderError) -> Reply {
        let document = try document(body, "Retention")
        let now = service.now
        var term: ObjectLock.Term?
        // An empty one takes the retention away.
        if !document.children.isEmpty {
            guard let mode = document["Mode"].flatMap({ ObjectLock.Mode(rawValue: $0.text) }),
                let until = document["RetainUntilDate"].flatMap({ WireDate.parseISO8601($0.text) })
            else { throw .malformedXML }
            guard until > now else { throw .invalidArgument("The retain until date must be in the future!") }
            term = ObjectLock.Term(mode: mode, until: until)
        }
        return try changeLock { lock throws(ProviderError) in
            if let old = lock.term, old.until > now {
                let isLess = term.map { $0.until < old.until || $0.mode != old.mode && old.mode == .compliance } ?? true
                guard !isLess || old.mode == .governance && bypassesGovernance else { throw .accessDenied }
            }
            lock.term = term
        }
    }

    func objectLegalHold() throws(ProviderError) -> Reply {
        guard let lock = try lockedVersion().lock else { throw .noObjectLock }
        var xml = XMLWriter()
        xml.element("LegalHold", namespace: namespace) { $0.element("Status", lock.isHeld ? "ON" : "OFF") }
        return .xml(xml)
    }

    func setObjectLegalHold(_ body: [UInt8]) throws(ProviderError) -> Reply {
        guard let status = try document(body, "LegalHold")["Status"]?.text, ["ON", "OFF"].contains(status) else {
            throw .malformedXML
        }
        return try changeLock { $0.isHeld = status == "ON" }
    }

    private func document(_ body: [UInt8], _ root: String) throws(ProviderError) -> XMLElement {
        let document = try readDocument(body) { xml throws(XMLError) in try xml.element() }
        guard document.name == root else { throw .malformedXML }
        return document
    }

    private func lockedVersion() throws(ProviderError) -> ObjectVersion {
        try withBucket { tables, bucket throws(ProviderError) in
            guard bucket.locksObjects else { throw .noLockOfBucket }
            return try self.version(tables, bucket, request.key, id: request.versionID)
        }
    }

    private func changeLock(
        _ change: (inout ObjectLock) throws(ProviderError) -> Void
    ) throws(ProviderError) -> Reply {
        try withBucket { tables, bucket throws(ProviderError) in
            guard bucket.locksObjects else { throw .noLockOfBucket }
            var version = try self.version(tables, bucket, request.key, id: request.versionID)
            var lock = version.lock ?? ObjectLock()
            try change(&lock)
            version.lock = lock
            try tables.updateHeaders(version, in: bucket)
        }
        return Reply(200)
    }
}

extension ProviderError {
    fileprivate static let noObjectLock = ProviderError(
        404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration.")
    fileprivate static let noLockOfBucket = ProviderError(
        400, "InvalidRequest", "Bucket is missing Object Lock Configuration.")
}
