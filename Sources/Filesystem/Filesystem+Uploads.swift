internal import Logging
package import Metadata
internal import ObjectStore
internal import ThawCore
package import Upload

/// What was promised and is not in the store yet.
extension Filesystem {
    /// Takes up what an earlier mount has left: before the mount is seen, because its names must show what was
    /// accepted, and because renames of files must not move what is stored under the old name afterwards.
    package func resumeUploads() async throws(MetadataError) {
        // Until `resumeCleaning` has ended them, nobody changes what is below; nobody else moves anything yet.
        try? await moves.begin(resumedTrees)
        await trees.resumeObjects()
        let pending = writer.left.uploads
        try await resumeDeferred()
        try await sweepStaging(keeping: Set(pending.map(\.staging)))
        for upload in pending where upload.acceptedAt > .epoch {
            do throws(UploadError) {
                let file = try StagedFile.restore(upload, in: staging)
                stagedFiles.add(file)
                file.upload()
            } catch {
                log.critical("\(upload.key) was accepted, and its content in \(staging.area.directory)/\(upload.staging) cannot be read: \(error)")
                try await writer.failUpload(upload.id, PendingUpload.Failure(text: "\(error)", at: .now()))
            }
        }
        let kept = pending.filter { $0.acceptedAt == .epoch }
        if !kept.isEmpty {
            log.notice("kept for thawfs cache recover: \(kept.count) files that an earlier mount could not store")
        }
    }

    /// A journal that was begun anew does not name all that was accepted: then nothing is removed.
    private func sweepStaging(keeping names: Set<String>) async throws(MetadataError) {
        guard writer.left.mayMissUploads else { return staging.area.sweep(keeping: names) }
        do throws(ErrnoError) {
            for path in try staging.area.setAside(allBut: names) {
                log.error("what was written and is in no journal is kept in \(path): see thawfs cache recover")
            }
        } catch {
            // The next mount tries again.
            return log.error("files in \(staging.area.directory) that are in no journal stay there: \(error)")
        }
        try await writer.finishMissedUploads()
    }

    private var resumedTrees: [ObjectKey] {
        writer.left.renames.filter(\.source.isPrefix).flatMap { [$0.source, $0.target] }
    }

    /// Goes on with the renames of directories that an earlier mount has left half done, and cleans up in the bucket
    /// after it.
    package func resumeCleaning() async {
        await trees.resume()
        moves.end(resumedTrees)
        await deleteHiddenCopies()
        do throws(MetadataError) {
            for upload in writer.left.multiparts {
                do throws(StoreError) { try await store.abortUpload(upload) } catch {
                    log.warning("an upload of \(upload.key) that an earlier mount left was not aborted: \(error)")
                    continue
                }
                try await writer.drop(upload)
            }
        } catch {
            _ = failure("aborting uploads", .empty, error)
        }
    }

    /// What has been accepted and is not yet in the store, oldest first; and what is kept for `thawfs cache recover`.
    package func uploads() async -> [UploadSummary] {
        var summaries = stagedFiles.all.filter(\.isAccepted).map(\.summary)
        do throws(MetadataError) {
            for pending in try await reader.pendingUploads() {
                // Nobody is at what was accepted and could not be opened.
                let isStranded = pending.failure != nil && stagedFiles[pending.key] == nil
                guard pending.acceptedAt == .epoch || isStranded else { continue }
                summaries.append(UploadSummary(pending, in: staging.area.directory))
            }
        } catch {
            _ = failure("status", .empty, error)
        }
        summaries += StagingArea.lost(in: staging.area.directory)
        return summaries.sorted { $0.since < $1.since }
    }

    /// Waits until everything that was accepted, or is being stored, is in the store; false when all that is left has
    /// failed at least once.
    package func finishUploads() async -> Bool {
        while true {
            // Asked before which files there are: what is parked is none of them any more.
            if !stagedFiles.isSettling {
                let waiting = stagedFiles.all.filter { $0.isAccepted || $0.summary.stage == .uploading }
                if waiting.isEmpty { return true }
                // Between two attempts as well as in one: files do not fail at the same time.
                if waiting.allSatisfy({ $0.lastFailure != nil }) { return false }
            }
            try? await Task.sleep(for: .milliseconds(100))
            if Task.isCancelled { return false }
        }
    }

    /// An accepted file is stored, or somebody else's is there instead.
    func settled(_ file: StagedFile) async {
        if file.hasConflict { return await park(file) }
        for number in knownFiles(file.key, version: nil) where inodes[number]?.staged === file {
            _ = finish(file, on: number)
            return
        }
        if stagedFiles.retire(file) { file.close() }
    }
}
