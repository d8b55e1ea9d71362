# The app on port 8501. Build: docker build -t quantlib .   Run: see SERVING.md.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 app
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY app.py LICENSE README.md ./
COPY .streamlit .streamlit
COPY assets assets
COPY pages pages
COPY quantlib quantlib

# Uploads and results, and the compiled kernels: the only two places that are written to.
ENV QUANTLIB_FOLDER=/data NUMBA_CACHE_DIR=/kernels PYTHONDONTWRITEBYTECODE=1
RUN mkdir /data /kernels && chown app /data /kernels
USER app
# Compile every kernel now, so that nobody waits for it later.
RUN python -c "from quantlib import formats; formats.warm_up()"

EXPOSE 8501
HEALTHCHECK CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health')"
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.address=0.0.0.0", "--server.headless=true"]
