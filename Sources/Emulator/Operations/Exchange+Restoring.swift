import ThawCore
import Wire

extension Exchange {
    func restoreObject(_ body: [UInt8]) throws(ProviderError) -> Reply {
        if request.dialect == .cos { try requireIntegrityHeader() }
        let ask = try restoreAsk(body)
        if effects.expeditedUnavailable, ask.tier == RestoreTier.expedited.rawValue {
            throw ProviderError(
                503,
                "GlacierExpeditedRetrievalNotAvailable",
                "Glacier expedited retrievals are currently not available, please try again later"
            )
        }
        let now = service.now
        let (status, bucket, version) = try withBucket { tables, bucket throws(ProviderError) in
            var version = try self.version(tables, bucket, request.key, id: request.versionID)
            let status: Int
            switch version.archive.restoring(ask, in: request.dialect, at: now, fails: effects.restoreFails) {
            case .refused(let refusal): throw refusal.providerError(request.dialect)
            case .started(let restore): (status, version.archive.restore) = (202, restore)
            case .extended(let restore): (status, version.archive.restore) = (200, restore)
            }
            try tables.updateArchive(version, in: bucket)
            return (status, bucket, version)
        }
        var headers = versionHeader(bucket, version)
        if request.dialect == .oss, let tier = version.archive.restore?.tier {
            headers.append(("x-oss-object-restore-priority", tier.rawValue))
        }
        return Reply(status, headers: headers)
    }

    private func restoreAsk(_ body: [UInt8]) throws(ProviderError) -> RestoreAsk {
        if body.isEmpty {
            guard request.dialect == .oss else { throw .malformedXML }
            return RestoreAsk()
        }
        let document = try readDocument(body, RestoreDocument.init)
        guard request.dialect == .oss else { return document.ask }
        if let foreign = document.foreign {
            throw ProviderError(
                400,
                "MalformedXML",
                "The element \(foreign.element) cannot be given.",
                ec: foreign.ec
            )
        }
        if document.dayElements > 1 {
            throw ProviderError(400, "MalformedXML", "Days is given more than once.", ec: "0016-00000707")
        }
        return document.ask
    }

    /// OSS: freezes a restored object before its time. Refusals are those that Alibaba Cloud OSS documents for
    /// CleanRestoredObject (EC 0016-00000718 and 0016-00000719); of an object that needs no restore it says nothing,
    /// and what RestoreObject says of one is assumed.
    func cleanRestoredObject() throws(ProviderError) -> Reply {
        let now = service.now
        let (bucket, version) = try withBucket { tables, bucket throws(ProviderError) in
            var version = try self.version(tables, bucket, request.key, id: request.versionID)
            switch version.archive.state(at: now) {
            case .online: throw RestoreRefusal.notArchived.providerError(request.dialect)
            case .restoring:
                throw ProviderError(
                    409,
                    "ArchiveRestoreNotFinished",
                    "The archive file's restore is not finished.",
                    ec: "0016-00000719"
                )
            case .frozen:
                throw ProviderError(
                    409,
                    "ArchiveRestoreFileStale",
                    "The archive file or restore info stale",
                    ec: "0016-00000718"
                )
            case .restored:
                version.archive.restore = nil
                try tables.updateArchive(version, in: bucket)
            }
            return (bucket, version)
        }
        return Reply(200, headers: versionHeader(bucket, version))
    }
}

/// A `RestoreRequest` document of either dialect, by local names.
private struct RestoreDocument {
    var ask = RestoreAsk()
    var dayElements = 0
    /// The first element that OSS does not take.
    var foreign: (element: String, ec: String)?

    init(_ xml: inout XMLReader) throws(XMLError) {
        while try xml.nextChild() {
            if xml.isNamed("Days") {
                dayElements += 1
                // What is no number fits no class.
                ask.days = Int(try xml.string()) ?? 0
            } else if xml.isNamed("JobParameters") {
                try readTier(&xml)
            } else if xml.isNamed("GlacierJobParameters") {
                foreign = foreign ?? ("GlacierJobParameters", "0016-00000709")
                try readTier(&xml)
            } else if xml.isNamed("Tier") {
                foreign = foreign ?? ("Tier", "0016-00000714")
                ask.tier = try xml.string()
            } else {
                let name = xml.localName
                let ec =
                    ["OutputLocation": "0016-00000710", "Type": "0016-00000713"][name] ?? "0016-00000714"
                foreign = foreign ?? (name, ec)
                try xml.skip()
            }
        }
    }

    private mutating func readTier(_ xml: inout XMLReader) throws(XMLError) {
        while try xml.nextChild() {
            if xml.isNamed("Tier") { ask.tier = try xml.string() } else { try xml.skip() }
        }
    }
}
