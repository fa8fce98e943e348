package import Logging
package import Metadata
package import ObjectStore

/// Uploads in parts, noted in the metadata store: the next mount aborts what this one leaves.
package struct UploadJournal: UploadNotes {
    private let writer: MetadataWriter
    private let log: Logger

    package init(_ writer: MetadataWriter, log: Logger) {
        self.writer = writer
        self.log = log
    }

    package func rememberUpload(_ upload: MultipartUpload) async {
        await noting { () throws(MetadataError) in try await writer.note(upload) }
    }

    package func forgetUpload(_ upload: MultipartUpload) async {
        await noting { () throws(MetadataError) in try await writer.drop(upload) }
    }

    private func noting(_ note: () async throws(MetadataError) -> Void) async {
        do throws(MetadataError) { try await note() } catch {
            log.warning("a multipart upload is not remembered: \(error)")
        }
    }
}
