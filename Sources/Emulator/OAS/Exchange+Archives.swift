import ThawCore
import Wire

extension Exchange {
    private static let mebibyte: UInt64 = 1 << 20
    /// OAS API manual, "Archives" and "Multipart uploads".
    private static let archiveBytesMax: UInt64 = 6_000_000_000
    private static let partBytesMin: UInt64 = 64 << 20
    private static let partsMax: UInt64 = 10_000
    private static let descriptionMax = 128

    func performOnArchive(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        switch operation {
        case .uploadArchive: try uploadArchive(body)
        case .deleteArchive: try deleteArchive()
        case .describeArchive: try describeArchive()
        case .createArchiveUpload: try createArchiveUpload()
        case .listArchiveUploads: try listArchiveUploads()
        case .uploadArchivePart: try uploadArchivePart(body)
        case .listArchiveParts: try listArchiveParts()
        case .completeArchiveUpload: try completeArchiveUpload()
        default: try abortArchiveUpload()
        }
    }

    /// What can be checked of an archive, or of a part, before its bytes are taken in.
    func checkArchiveUpload() throws(ProviderError) {
        guard let length = request.header("content-length").flatMap({ UInt64($0) }) else {
            throw ProviderError(411, "MissingContentLength", "Content-Length is required.")
        }
        guard length > 0 else { throw .invalidArgument("There are no archives of zero bytes.") }
        guard length <= Self.archiveBytesMax else {
            throw ProviderError(400, "SingleArchiveLengthExceed", "The archive is too large for one upload.")
        }
        _ = try description()
        try withVault { tables, vault throws(ProviderError) in
            guard operation == .uploadArchivePart else { return }
            _ = try partRange(of: try tables.archiveUpload(pathID, in: vault), length)
        }
    }

    private func description() throws(ProviderError) -> String {
        let text = request.vendorHeader("archive-description") ?? ""
        guard text.unicodeScalars.count <= Self.descriptionMax else {
            throw .invalidArgument("The description is longer than \(Self.descriptionMax) characters.")
        }
        return text
    }

    private func checkETags(_ body: ReceivedBody) throws(ProviderError) {
        let (content, tree) = (TreeETag.hex(body.md5), TreeETag.root(of: body.leaves))
        guard request.vendorHeader("content-etag") == content, request.vendorHeader("tree-etag") == tree else {
            throw ProviderError(400, "InvalidDigest", "The content has the etags \(content) and \(tree).")
        }
    }

    private func uploadArchive(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        try checkETags(body)
        let description = try description()
        let now = service.now
        return try withVault { tables, vault throws(ProviderError) in
            let archive = StoredArchive(
                id: try tables.newID(), description: description, created: now, sizeBytes: body.sizeBytes,
                leaves: body.leaves, content: body.content)
            try tables.insert(archive, in: vault)
            return created(archive, in: vault)
        }
    }

    private func created(_ archive: StoredArchive, in vault: Vault) -> Reply {
        Reply(
            201,
            headers: [
                ("x-oas-archive-id", archive.id), ("Location", "/vaults/\(vault.id)/archives/\(archive.id)"),
                ("x-oas-tree-etag", archive.treeETag),
            ])
    }

    private func deleteArchive() throws(ProviderError) -> Reply {
        let freed = try withVault { tables, vault throws(ProviderError) in
            try tables.remove(try tables.archive(pathID, in: vault))
        }
        service.blobs.remove(freed)
        return Reply(204)
    }

    private func describeArchive() throws(ProviderError) -> Reply {
        let archive = try withVault { tables, vault throws(ProviderError) in try tables.archive(pathID, in: vault) }
        return .json([
            "ArchiveId": .string(archive.id), "ArchiveSizeInBytes": JSON(archive.sizeBytes),
            "ArchiveDescription": .string(archive.description), "TreeEtag": .string(archive.treeETag),
            "CreationDate": .string(WireDate.rfc1123(archive.created)),
        ])
    }

    // MARK: - Parts

    private func createArchiveUpload() throws(ProviderError) -> Reply {
        let partBytes = try headerNumber("x-oas-part-size")
        guard partBytes >= Self.partBytesMin, partBytes.isMultiple(of: Self.mebibyte) else {
            throw .invalidArgument("The part size must be a multiple of 1 MiB, and 64 MiB at the least.")
        }
        let description = try description()
        let now = service.now
        return try withVault { tables, vault throws(ProviderError) in
            let upload = ArchiveUpload(
                id: try tables.newID(), description: description, created: now, partBytes: partBytes)
            try tables.insert(upload, in: vault)
            return Reply(
                201,
                headers: [
                    ("x-oas-multipart-upload-id", upload.id),
                    ("Location", "/vaults/\(vault.id)/multipart-uploads/\(upload.id)"),
                ])
        }
    }

    private func listArchiveUploads() throws(ProviderError) -> Reply {
        let uploads = try withVault { tables, vault throws(ProviderError) in try tables.archiveUploads(of: vault) }
        return .json(try page("UploadsList", uploads.map { ($0.id, $0.json) }, limitMax: 1000))
    }

    /// `Content-Range: {start}-{end}`, without unit and total.
    private func partRange(of upload: ArchiveUpload, _ length: UInt64) throws(ProviderError) -> Range<UInt64> {
        let numbers = (request.header("content-range") ?? "").split(separator: "-").map { UInt64($0) }
        guard numbers.count == 2, let start = numbers[0], let end = numbers[1], start <= end, end - start + 1 == length,
            start.isMultiple(of: upload.partBytes), length <= upload.partBytes,
            start / upload.partBytes < Self.partsMax
        else { throw ProviderError(400, "InvalidPart", "The range is not that of a part.") }
        return start..<end + 1
    }

    private func uploadArchivePart(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        try checkETags(body)
        let freed = try withVault { tables, vault throws(ProviderError) in
            let upload = try tables.archiveUpload(pathID, in: vault)
            let range = try partRange(of: upload, body.sizeBytes)
            let part = ArchivePart(
                start: range.lowerBound, sizeBytes: body.sizeBytes, etag: TreeETag.hex(body.md5), leaves: body.leaves,
                content: body.content)
            return try tables.store(part, of: upload)
        }
        service.blobs.remove(freed)
        return Reply(204)
    }

    private func listArchiveParts() throws(ProviderError) -> Reply {
        let (upload, parts) = try withVault { tables, vault throws(ProviderError) in
            let upload = try tables.archiveUpload(pathID, in: vault)
            return (upload, try tables.parts(of: upload))
        }
        let listed = parts.map { part -> (id: String, json: JSON) in
            let digits = String(part.start)
            let range = "\(part.start)-\(part.start + part.sizeBytes - 1)"
            return (
                String(repeating: "0", count: 20 - digits.count) + digits,
                [
                    "RangeInBytes": .string(range), "ContentEtag": .string(part.etag),
                    "TreeEtag": .string(TreeETag.root(of: part.leaves)),
                ]
            )
        }
        guard case .object(var members) = try page("Parts", listed, limitMax: 1000),
            case .object(let rest) = upload.json
        else { throw .internalError("no page") }
        members.merge(rest) { own, _ in own }
        return .json(.object(members))
    }

    private func completeArchiveUpload() throws(ProviderError) -> Reply {
        let sizeBytes = try headerNumber("x-oas-archive-size")
        let now = service.now
        let (reply, freed) = try withVault { tables, vault throws(ProviderError) in
            let upload = try tables.archiveUpload(pathID, in: vault)
            let parts = try tables.parts(of: upload)
            var end: UInt64 = 0
            for part in parts {
                guard part.start == end, part.sizeBytes == upload.partBytes || part.start == parts.last?.start else {
                    throw ProviderError(400, "InvalidPart", "The parts do not make an archive.")
                }
                end += part.sizeBytes
            }
            guard end == sizeBytes, end > 0 else {
                throw ProviderError(400, "InvalidPart", "The parts have \(end) bytes, not \(sizeBytes).")
            }
            let archive = StoredArchive(
                id: try tables.newID(), description: upload.description, created: now, sizeBytes: end,
                leaves: parts.flatMap(\.leaves), content: parts.flatMap(\.content))
            guard request.vendorHeader("tree-etag") == archive.treeETag else {
                throw ProviderError(400, "InvalidDigest", "The content has the tree-etag \(archive.treeETag).")
            }
            try tables.insert(archive, in: vault)
            return (created(archive, in: vault), try tables.remove(upload))
        }
        service.blobs.remove(freed)
        return reply
    }

    private func abortArchiveUpload() throws(ProviderError) -> Reply {
        let freed = try withVault { tables, vault throws(ProviderError) in
            try tables.remove(try tables.archiveUpload(pathID, in: vault))
        }
        service.blobs.remove(freed)
        return Reply(204)
    }
}
