internal import ObjectStore

extension StagedFile {
    /// Makes the file a promise that outlives this process.
    package func accept() async throws(UploadError) { try await flush() }
}

extension StagedFile.Context {
    func rememberUpload(_ upload: MultipartUpload) async {}
    func forgetUpload(_ upload: MultipartUpload) async {}
}
