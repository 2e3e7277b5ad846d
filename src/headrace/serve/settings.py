"""The server's settings: arguments, else environment variables with the prefix `HEADRACE_`, else defaults."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from headrace.declarations import REACH_ROWS_MAX, RECOMPUTE_ROWS_MAX, Checkpointing
from headrace.errors import AccessDenied
from headrace.query import QueryLimits

MIB = 1 << 20


class ServerSettings(BaseSettings):
    """Everything that can be set about serving.

    Lists are separated by commas in the environment: `HEADRACE_ALLOWED_HOSTS=shop.example,10.0.0.7`.
    """

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", extra="ignore", frozen=True)

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; beyond loopback a token is needed."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    token: SecretStr | None = Field(default=None, description="The token that every request must carry.")
    tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="More tokens with the same right."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names in the Host header that are served beside this machine's own."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of other sites whose pages may call this server, such as https://shop.example.",
    )
    body_bytes_max: int = Field(default=16 * MIB, gt=0, description="Largest request body, as sent.")
    decoded_bytes_max: int = Field(
        default=64 * MIB, gt=0, description="Largest request body, after decompression."
    )
    flight_bytes_max: int = Field(
        default=256 * MIB, gt=0, description="Bytes of all bodies that are being worked on; beyond it: 429."
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a request may take to send its body."
    )
    waiting_max: int = Field(
        default=256, gt=0, description="Requests that may wait for a thread; beyond it: 429."
    )
    ingest_threads: int = Field(default=16, gt=0, description="Threads that append.")
    read_threads: int = Field(default=6, gt=0, description="Threads that answer queries.")
    sql_timeout_s: float = Field(default=10.0, gt=0, description="Longest ad-hoc query.")
    sql_rows_max: int = Field(default=1_000_000, gt=0, description="Most rows of one answer.")
    sql_result_bytes_max: int = Field(default=256 * MIB, gt=0, description="Largest answer, in Arrow bytes.")
    after_timeout_s: float = Field(default=10.0, gt=0, description="How long `?after=COMMIT` waits.")
    cursor_seconds: float = Field(
        default=120.0, gt=0, description="How long the next page of a listing is kept."
    )
    cursor_bytes_max: int = Field(
        default=256 * MIB, gt=0, description="Bytes of all listings that are kept for paging."
    )
    subscribers_max: int = Field(default=1_000, gt=0, description="Sockets and event streams at a time.")
    viewer_queue_bytes_max: int = Field(
        default=4 * MIB,
        gt=0,
        description="Changes that may wait for one slow reader before it gets a new snapshot.",
    )
    live_rows_max: int = Field(default=100_000, gt=0, description="Most rows of a snapshot on a socket.")
    heartbeat_s: float = Field(
        default=1.0, gt=0, description="How often a socket hears the version and freshness."
    )

    state_bytes_max: int | None = Field(
        default=None, gt=0, description="State of views that may lie in memory; the rest lies in files."
    )

    recompute_rows_max: int = Field(
        default=RECOMPUTE_ROWS_MAX,
        gt=0,
        description="Input rows up to which a part of a view may be recomputed at every step.",
    )

    reach_rows_max: int = Field(
        default=REACH_ROWS_MAX,
        ge=0,
        description="Rows that a change of a few rows of a keyed table may reach in a step.",
    )

    checkpoint_every_s: float = Field(
        default=60.0, gt=0, description="Pause between checkpoints, where much has come."
    )
    checkpoint_rows: int = Field(
        default=2_000_000, gt=0, description="Rows since the last checkpoint, beyond which it does not wait."
    )
    checkpoint_log_bytes: int = Field(default=512 * MIB, gt=0, description="The same in bytes of the log.")
    checkpoints_kept: int = Field(default=2, gt=0, description="Checkpoints that are kept.")

    @field_validator("tokens", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """All tokens, in clear."""
        every = [*self.tokens, *([self.token] if self.token else [])]
        return tuple(secret.get_secret_value() for secret in every if secret.get_secret_value())

    @property
    def checkpoints(self) -> Checkpointing:
        """When checkpoints are taken, and how many are kept."""
        return Checkpointing(
            self.checkpoint_every_s, self.checkpoint_rows, self.checkpoint_log_bytes, self.checkpoints_kept
        )

    @property
    def limits(self) -> QueryLimits:
        """What one ad-hoc query may take."""
        return QueryLimits(self.sql_timeout_s, self.sql_rows_max, self.sql_result_bytes_max)

    def check_exposed(self) -> None:
        """Refuse to be reachable from other machines without a token.

        Raises:
            AccessDenied: naming host and remedy.
        """
        if is_loopback(self.host) or self.secrets:
            return
        raise AccessDenied(
            f"host {self.host!r} can be reached from other machines, and no token is set",
            where="host",
            expected="127.0.0.1, or a token",
            hint="set HEADRACE_TOKEN to a long random text, or leave the host at 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
