internal import Logging
internal import Metadata
internal import ObjectStore

extension StagedFile {
    /// Makes the file a promise that outlives this process.
    package func accept() async throws(UploadError) { try await flush() }

    /// Keeps the file where `thawfs cache recover` finds it, and gives up storing it. Answers its path.
    package func park() async throws(UploadError) -> String { throw .notRemembered("not yet written") }
}

extension StagedFile.Context {
    /// An upload that nobody goes on with costs money until somebody aborts it: the next mount does.
    func rememberUpload(_ upload: MultipartUpload) async { await noting { () throws(MetadataError) in try await writer.note(upload) } }
    func forgetUpload(_ upload: MultipartUpload) async { await noting { () throws(MetadataError) in try await writer.drop(upload) } }

    private func noting(_ note: () async throws(MetadataError) -> Void) async {
        do throws(MetadataError) { try await note() } catch {
            log.warning("a multipart upload is not remembered: \(error)")
        }
    }
}
