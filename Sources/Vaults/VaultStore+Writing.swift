internal import Logging
package import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

extension VaultStore {
    /// The catalogue has every name, so that it can check.
    package func checks(_ condition: WriteCondition) -> Bool { true }

    /// There are no archives of zero bytes: empty files, directories and symbolic links are in the catalogue alone.
    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let vault = try await opened()
        try await check(draft.condition, key, in: vault)
        var entry = CatalogueEntry(
            path: key, archive: nil, sizeBytes: body.sizeBytes, tree: "", created: .now(), headers: draft.headers)
        let attributes = FileAttributes(metadata: draft.headers.metadata)
        if case .bytes(let bytes) = body, bytes.isEmpty || attributes.isSymbolicLink {
            entry.tree = TreeETag.of(bytes)
            entry.content = bytes
        } else if body.sizeBytes == 0 {
            entry.tree = TreeETag.of([])
            entry.content = []
        } else {
            let description = try description(of: key)
            let sum = try await body.archiveSum()
            let made = try await client.upload(body, sum, description: description, to: vault)
            (entry.archive, entry.tree, entry.created) = (made.id, sum.tree, made.date)
        }
        return try await store(entry, draft.condition, in: vault)
    }

    /// What is stored already is another name of the same archive from now on; its description keeps the first.
    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        let vault = try await opened()
        var entry = try await entry(source.key, source.version, in: vault)
        if let etag = source.etag, etag != entry.etag {
            throw .conditionFailed(source.key)
        }
        entry.path = key
        if let draft { entry.headers = draft.headers }
        let record = try await store(entry, draft?.condition ?? .always, in: vault, isArchiveNew: false)
        if key != source.key, entry.archive != nil { tellOfNames(source.key, key) }
        return record
    }

    private func tellOfNames(_ old: ObjectKey, _ new: ObjectKey) {
        let isNews = state.withLock { state in
            defer { state.hasToldOfNames = true }
            return !state.hasToldOfNames
        }
        log.log(
            level: isNews ? .notice : .debug,
            "\(new) is the archive that was uploaded as \(old), which its description goes on saying: the new name is in the catalogue only")
    }

    private func check(_ condition: WriteCondition, _ key: ObjectKey, in vault: String) async throws(StoreError) {
        guard condition != .always else { return }
        guard condition.holds(for: try await catalogue.entry(key, in: vault)) else { throw .conditionFailed(key) }
    }

    private func description(of key: ObjectKey) throws(StoreError) -> String {
        if let description = ArchiveName.description(key) { return description }
        let line = "\(key) is too long a path for a vault: an archive's description has \(ArchiveName.charactersMax) characters, and every byte that is not an ASCII letter or digit takes three"
        log.warning("\(line)")
        throw StoreError(.keyTooLong, code: "DescriptionTooLong", message: line)
    }

    private func store(
        _ entry: CatalogueEntry, _ condition: WriteCondition, in vault: String, isArchiveNew: Bool = true
    ) async throws(StoreError) -> ObjectRecord {
        do throws(StoreError) {
            for archive in try await catalogue.store(entry, condition, in: vault, isArchiveNew: isArchiveNew) {
                await finishDeletion(archive, vault)
            }
        } catch {
            if isArchiveNew, let archive = entry.archive { await finishDeletion(archive, vault) }
            throw error
        }
        return entry.record
    }

    // MARK: - Deleting

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        let vault = try await opened()
        guard !Task.isCancelled else { throw .cancelled }
        guard let archive = try await catalogue.beginDeletion(key, condition, in: vault) else { return }
        // A task of its own: were it cut short, the file would be there until the next mount deletes it.
        let deletion = Task { await self.deleteNamed(archive, vault) }
        try await deletion.value.get()
    }

    private func deleteNamed(_ archive: String, _ vault: String) async -> Result<Void, StoreError> {
        do throws(StoreError) {
            do throws(StoreError) { try await client.deleteArchive(archive, of: vault) } catch {
                // Whoever is told that it failed finds the file still there; if the store did it all the same, the next
                // attempt finds that out.
                if error.kind != .cancelled { try await catalogue.cancelDeletion(archive) }
                throw error
            }
            return .success(try await catalogue.endDeletion(archive))
        } catch {
            return .failure(error)
        }
    }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        var failures: [DeleteFailure] = []
        for key in keys {
            do throws(StoreError) {
                try await delete(key, version: nil, condition: .always)
            } catch {
                if error.kind == .cancelled { throw error }
                failures.append(DeleteFailure(key: key, error: error))
            }
        }
        return failures
    }

    /// Deletes what has no name any more. If that fails now, the next mount tries again.
    func finishDeletion(_ archive: String, _ vault: String) async {
        do throws(StoreError) {
            try await client.deleteArchive(archive, of: vault)
            try await catalogue.endDeletion(archive)
        } catch {
            log.warning("archive \(archive) of \(name), which was replaced or deleted, is deleted later: \(error)")
        }
    }

    // MARK: - Parts

    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        let vault = try await opened()
        let description = try description(of: key)
        let id = try await client.beginUpload(partBytes: partBytes, description: description, to: vault)
        return MultipartUpload(key: key, id: id)
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        let vault = try await opened()
        let sum = try await body.archiveSum()
        try await client.uploadPart(body, sum, at: UInt64(number - 1) * partBytes, of: upload.id, to: vault)
        return UploadedPart(number: number, sizeBytes: body.sizeBytes, etag: sum.tree, checksum: nil)
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        throw .unsupported("OAS copies nothing")
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let vault = try await opened()
        try await check(draft.condition, upload.key, in: vault)
        guard !parts.isEmpty else {
            throw StoreError(.invalidRequest, code: "NoParts", message: "an archive of no parts")
        }
        let sizeBytes = parts.reduce(0) { $0 + $1.sizeBytes }
        let tree = TreeETag.root(of: parts.map(\.etag))
        let made: VaultClient.Made
        do throws(StoreError) {
            made = try await client.completeUpload(upload.id, sizeBytes: sizeBytes, tree: tree, of: vault)
        } catch {
            if error.kind == .noSuchUpload {
                log.error("the upload of \(upload.key) is gone; if it was completed and the reply was lost, its archive shows with the next inventory")
                try? await refresh(below: .empty)
            }
            throw error
        }
        return try await store(
            CatalogueEntry(
                path: upload.key, archive: made.id, sizeBytes: sizeBytes, tree: tree, created: made.date,
                headers: draft.headers),
            draft.condition, in: vault)
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        try await client.abortUpload(upload.id, of: try await opened())
    }
}
