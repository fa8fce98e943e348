"""A client of Alibaba Archive Storage of our own: there is no other. Written from the vendor's documents, and shares
nothing with what is under test.
"""

import base64
import email.utils
import hashlib
import hmac
import http.client
import json
import urllib.parse

BLOCK = 1 << 20


def signature(secret, method, path, date, headers, parameters=()):
    """HMAC-SHA1 of verb, date, `x-oas-` headers and resource, in base64."""
    lines = [method, date]
    lines += sorted(f"{name.lower()}:{value}" for name, value in headers.items() if name.lower().startswith("x-oas-"))
    resource = path
    signed = sorted(f"{name}={value}" for name, value in dict(parameters).items() if name in ("limit", "marker"))
    if signed:
        resource += "?" + "&".join(signed)
    text = "\n".join(lines + [resource])
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def md5(data):
    return hashlib.md5(data).hexdigest().upper()


def tree_etag(data):
    """MD5 of blocks of a mebibyte; parents are of their children's digits, an odd one goes up as it is."""
    level = [md5(data[start:start + BLOCK]) for start in range(0, max(len(data), 1), BLOCK)]
    while len(level) > 1:
        level = [md5("".join(level[index:index + 2]).encode()) if index + 1 < len(level) else level[index]
                 for index in range(0, len(level), 2)]
    return level[0]


class OASError(Exception):
    def __init__(self, status, body):
        self.status = status
        self.code = body.get("code")
        super().__init__(f"{status} {body}")


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class OAS:
    """Raises OASError for whatever is not 2xx."""

    VERSION = "0.2.5"

    def __init__(self, emulator, key=None, secret=None):
        self.host = emulator.host
        self.key = key or emulator.ACCESS_KEY
        self.secret = secret or emulator.SECRET_KEY

    def request(self, method, path, headers=None, body=b"", parameters=(), date=None):
        date = date or email.utils.formatdate(usegmt=True)
        headers = {"x-oas-version": self.VERSION, "Date": date, "Content-Length": str(len(body)), **(headers or {})}
        signed = signature(self.secret, method, path, date, headers, parameters)
        headers["Authorization"] = f"OAS {self.key}:{signed}"
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path + query, body=body, headers=headers)
            reply = Reply(connection.getresponse())
        finally:
            connection.close()
        if reply.status >= 300:
            raise OASError(reply.status, reply.json)
        return reply

    # -- Vaults

    def create_vault(self, name):
        return self.request("PUT", f"/vaults/{name}").headers["x-oas-vault-id"]

    def delete_vault(self, vault):
        return self.request("DELETE", f"/vaults/{vault}")

    def vault(self, vault):
        return self.request("GET", f"/vaults/{vault}").json

    def vaults(self, **parameters):
        return self.request("GET", "/vaults", parameters=parameters).json

    # -- Archives

    def etags(self, data):
        return {"x-oas-content-etag": md5(data), "x-oas-tree-etag": tree_etag(data)}

    def upload(self, vault, data, description="", **headers):
        headers = self.etags(data) | {"x-oas-archive-description": description} | headers
        return self.request("POST", f"/vaults/{vault}/archives", headers, data).headers["x-oas-archive-id"]

    def delete(self, vault, archive):
        return self.request("DELETE", f"/vaults/{vault}/archives/{archive}")

    def meta(self, vault, archive):
        return self.request("GET", f"/vaults/{vault}/archives/{archive}/meta").json

    # -- Parts

    def begin_upload(self, vault, part_size, description=""):
        headers = {"x-oas-part-size": str(part_size), "x-oas-archive-description": description}
        return self.request("POST", f"/vaults/{vault}/multipart-uploads", headers).headers["x-oas-multipart-upload-id"]

    def upload_part(self, vault, upload, start, data):
        headers = self.etags(data) | {"Content-Range": f"{start}-{start + len(data) - 1}"}
        return self.request("PUT", f"/vaults/{vault}/multipart-uploads/{upload}", headers, data)

    def parts(self, vault, upload):
        return self.request("GET", f"/vaults/{vault}/multipart-uploads/{upload}").json

    def uploads(self, vault):
        return self.request("GET", f"/vaults/{vault}/multipart-uploads").json["UploadsList"]

    def complete_upload(self, vault, upload, size, tree):
        headers = {"x-oas-archive-size": str(size), "x-oas-tree-etag": tree}
        reply = self.request("POST", f"/vaults/{vault}/multipart-uploads/{upload}", headers)
        return reply.headers["x-oas-archive-id"]

    def abort_upload(self, vault, upload):
        return self.request("DELETE", f"/vaults/{vault}/multipart-uploads/{upload}")

    # -- Jobs

    def start(self, vault, **order):
        body = json.dumps(order).encode()
        return self.request("POST", f"/vaults/{vault}/jobs", {"Content-Type": "application/json"}, body) \
            .headers["x-oas-job-id"]

    def retrieve(self, vault, archive, **order):
        return self.start(vault, Type="archive-retrieval", ArchiveId=archive, **order)

    def job(self, vault, job):
        return self.request("GET", f"/vaults/{vault}/jobs/{job}").json

    def jobs(self, vault, **parameters):
        return self.request("GET", f"/vaults/{vault}/jobs", parameters=parameters).json["JobList"]

    def output(self, vault, job, span=None):
        headers = {"Range": f"bytes={span}"} if span else {}
        return self.request("GET", f"/vaults/{vault}/jobs/{job}/output", headers)

    # -- What tests of mounts need

    def id(self, name):
        return next(vault["VaultId"] for vault in self.vaults()["VaultList"] if vault["VaultName"] == name)

    def content(self, vault, archive, emulator):
        """The archive's bytes, by a job that the emulator finishes at once."""
        emulator.control("POST", "job", {"vault": self.name(vault), "archive": archive})
        done = [job for job in self.jobs(vault) if job["ArchiveId"] == archive and job["Completed"]]
        return self.output(vault, done[-1]["JobId"]).body

    def name(self, vault):
        return self.vault(vault)["VaultName"]

    def inventory(self, vault, emulator):
        """The vault's archives, by an inventory that the emulator finishes at once."""
        emulator.control("POST", "job", {"vault": self.name(vault)})
        done = [job for job in self.jobs(vault) if job["Action"] == "InventoryRetrieval" and job["Completed"]]
        return self.output(vault, done[-1]["JobId"]).json["ArchiveList"]
