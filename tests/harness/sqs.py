"""A queue of notifications on a real SQS server, with CMR's topic in front of it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.harness.servers import KEY_ID, SECRET
from zagg_catalog.settings import Settings

REGION = "us-east-1"


def client(service: str, endpoint: str, region: str = REGION) -> Any:
    """boto3 without the library, to prepare and to look behind its back."""
    import boto3

    login = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
    return boto3.client(service, region, endpoint_url=endpoint, **login)


@dataclass
class Mailbox:
    """A queue, its dead-letter queue, and what stands in them."""

    endpoint: str
    url: str
    dead_url: str

    @classmethod
    def make(cls, endpoint: str, *, redrive: bool = True) -> Mailbox:
        """Make two queues; without `redrive` the one does not know of the other."""
        sqs, name = client("sqs", endpoint), f"q-{uuid.uuid4().hex[:12]}"
        dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 20}
        attributes = {"RedrivePolicy": json.dumps(policy)} if redrive else {}
        return cls(
            endpoint, sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], dead
        )

    @cached_property
    def sqs(self) -> Any:
        return client("sqs", self.endpoint)

    @property
    def settings(self) -> Settings:
        return Settings(_env_file=None, **self.values)

    @property
    def values(self) -> dict[str, Any]:
        return {"queue_url": self.url, "queue_region": REGION, "queue_endpoint": self.endpoint}

    @property
    def names(self) -> dict[str, str]:
        """Names in the place of those in ``deployments/policies/queue.json``."""
        account, queue = self.url.split("/")[-2:]
        dead = self.dead_url.rpartition("/")[2]
        return {
            "DEAD-LETTER-QUEUE": dead,
            "QUEUE": queue,
            "ACCOUNT": account,
            "REGION": REGION,
        }

    def send(self, text: str, mode: str | None = None) -> None:
        """Send a message; with a mode as raw delivery does."""
        attributes = {"mode": {"DataType": "String", "StringValue": mode}} if mode else {}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text, MessageAttributes=attributes)

    def waiting(self) -> int:
        """Number of messages that are in the queue, hidden ones included."""
        return _count(self.sqs, self.url)

    def dead(self) -> list[tuple[str, str | None]]:
        """Texts and modes of the messages in the dead-letter queue, which it loses."""
        found = []
        while answer := self.sqs.receive_message(
            QueueUrl=self.dead_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for one in answer:
                mode = one.get("MessageAttributes", {}).get("mode", {}).get("StringValue")
                found.append((one["Body"], mode))
                self.sqs.delete_message(QueueUrl=self.dead_url, ReceiptHandle=one["ReceiptHandle"])
        return found


def _count(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)
