internal import ObjectStore

extension StagedFile {
    /// Makes the file a promise that outlives this process.
    package func accept() async throws(UploadError) { try await flush() }

    /// Keeps the file where `thawfs cache recover` finds it, and gives up storing it. Answers its path.
    package func park() async throws(UploadError) -> String { throw .notRemembered("not yet written") }
}

extension StagedFile.Context {
    func rememberUpload(_ upload: MultipartUpload) async {}
    func forgetUpload(_ upload: MultipartUpload) async {}
}
